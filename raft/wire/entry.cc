// SPDX-License-Identifier: Apache-2.0
#include "raft/wire/entry.h"

#include <cstring>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::wire {

namespace {

/// Runs of constant bytes around the variable parts of a user command.
constexpr std::string_view kUserHead("\x83\x68\x04\x77\x04$usr\x74\x00\x00\x00", 13);
constexpr std::string_view kTsKey("\x77\x02ts", 4);
constexpr std::string_view kFromKey(
    "\x77\x04"
    "from",
    6);

constexpr std::string_view kNoreply("\x77\x07noreply", 9);

/// An integer in at most 11 bytes, without touching the heap.
struct SmallInteger {
  char bytes[11];
  std::size_t size = 0;

  explicit SmallInteger(std::int64_t value) {
    if (value >= 0 && value < 256) {
      bytes[0] = 97;
      bytes[1] = static_cast<char>(value);
      size = 2;
      return;
    }
    const bool negative = value < 0;
    std::uint64_t magnitude = static_cast<std::uint64_t>(value);
    if (value >= INT32_MIN && value <= INT32_MAX) {
      bytes[0] = 98;
      for (std::size_t i = 0; i < 4; ++i) bytes[4 - i] = static_cast<char>(magnitude >> (8 * i));
      size = 5;
      return;
    }
    if (negative) magnitude = ~magnitude + 1;
    bytes[0] = 110;
    bytes[2] = negative ? 1 : 0;
    size = 3;
    for (; magnitude != 0; magnitude >>= 8) bytes[size++] = static_cast<char>(magnitude);
    bytes[1] = static_cast<char>(size - 3);
  }
  std::string_view view() const { return {bytes, size}; }
};

/// What stands before the data of a user command.
class UserHead {
 public:
  UserHead(std::int64_t ts_ms, std::string_view from) : ts_(ts_ms), from_(from) {}

  std::size_t size() const {
    const std::size_t from_size = from_.empty() ? 0 : kFromKey.size() + from_.size();
    return kUserHead.size() + 1 + from_size + kTsKey.size() + ts_.size;
  }
  /// Gives the end of what it wrote.
  char* write(char* to) const {
    const auto put = [&to](std::string_view bytes) {
      std::memcpy(to, bytes.data(), bytes.size());
      to += bytes.size();
    };
    put(kUserHead);
    *to++ = from_.empty() ? 1 : 2;
    if (!from_.empty()) {
      put(kFromKey);
      put(from_);
    }
    put(kTsKey);
    put(ts_.view());
    return to;
  }

 private:
  SmallInteger ts_;
  std::string_view from_;
};

void write_meta(etf::Writer& writer, std::int64_t ts_ms, std::string_view from) {
  writer.map(from.empty() ? 1 : 2);
  if (!from.empty()) writer.atom("from").raw(from);
  writer.atom("ts").integer(ts_ms);
}

/// The Mode of a client's `{command, _, {_, _, Mode}}`; empty if it can't be read.
std::string_view mode_of_request(std::string_view request) {
  etf::Cursor cursor(request, etf::kMessageLimits);
  if (cursor.kind() != etf::TermKind::tuple) return {};
  std::optional<std::uint32_t> arity = cursor.tuple();
  if (arity == 2U && cursor.is_atom("leader_call")) arity = cursor.tuple();
  if (arity != 3U || !cursor.is_atom("command")) return {};
  cursor.skip();
  if (!cursor.tuple(3)) return {};
  cursor.skip();
  cursor.skip();
  return cursor.skip().value_or(std::string_view{});
}

void parse_meta(std::string_view meta, EntryView& view) {
  view.meta = meta;
  etf::Cursor cursor(meta, etf::kAnyDepth);
  if (cursor.kind() != etf::TermKind::map) return;
  etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view value) {
    if (key == "ts") {
      view.ts = etf::Cursor(value).i64();
    } else if (key == "from") {
      view.from = value;
    }
  });
}

/// Reads a command's elements after its tag; false if they are not what the tag promises.
bool parse_elements(etf::Cursor& cursor, std::uint32_t arity, EntryView& view) {
  const bool whole = arity == 4;
  if (arity == 3 && cursor.is_atom("noop")) {
    view.kind = raft::EntryKind::noop;
  } else if (whole && cursor.is_atom("$usr")) {
    view.kind = raft::EntryKind::user;
  } else if (whole && cursor.is_atom("$ra_cluster_change")) {
    view.kind = raft::EntryKind::cluster_change;
  } else if (whole && cursor.is_atom("$ra_cluster")) {
    view.kind = raft::EntryKind::cluster_delete;
  } else {
    return false;
  }
  const std::optional<std::string_view> meta = cursor.skip();
  if (!meta) return false;
  parse_meta(*meta, view);
  switch (view.kind) {
    case raft::EntryKind::user:
      view.data = cursor.skip().value_or(std::string_view{});
      break;
    case raft::EntryKind::noop:
      view.machine_version = cursor.u64().value_or(0);
      return cursor.at_end();
    case raft::EntryKind::cluster_change:
      if (auto cluster = read_cluster(cursor)) {
        view.cluster = std::make_shared<const raft::Cluster>(std::move(*cluster));
      }
      break;
    case raft::EntryKind::cluster_delete:
      if (!cursor.is_atom("delete")) return false;
      break;
    case raft::EntryKind::unknown:
      return false;
  }
  view.mode = cursor.skip().value_or(std::string_view{});
  return cursor.at_end();
}

}  // namespace

SharedBytes encode_user(std::int64_t ts_ms, std::string_view from, std::string_view data,
                        std::string_view mode) {
  const UserHead head(ts_ms, from);
  SharedBytes payload = SharedBytes::uninitialized(head.size() + data.size() + mode.size());
  char* end = head.write(payload.mutable_data());
  std::memcpy(end, data.data(), data.size());
  std::memcpy(end + data.size(), mode.data(), mode.size());
  return payload;
}

SharedBytes encode_user_within(SharedBytes message, std::int64_t ts_ms, std::string_view from,
                               std::string_view data, std::string_view mode) {
  const std::string kept_from(from);  // it stands where the head is going to be
  const UserHead head(ts_ms, kept_from);
  const std::string_view whole = message.view();
  const auto begin = reinterpret_cast<std::uintptr_t>(whole.data());
  const auto data_at = reinterpret_cast<std::uintptr_t>(data.data());
  const bool inside = !whole.empty() && data_at >= begin && data_at <= begin + whole.size() &&
                      data.size() + mode.size() <= begin + whole.size() - data_at;
  if (!inside || mode.data() != data.data() + data.size() || data_at - begin < head.size()) {
    return encode_user(ts_ms, kept_from, data, mode);
  }
  message.narrow(data_at - begin - head.size(), head.size() + data.size() + mode.size());
  head.write(message.mutable_data());
  return message;
}

SharedBytes encode_noop(std::int64_t ts_ms, raft::MachineVersion version) {
  etf::Writer writer;
  writer.version().tuple(3).atom("noop");
  write_meta(writer, ts_ms, {});
  writer.u64(version);
  return SharedBytes::copy_of(writer.view());
}

SharedBytes encode_cluster_change(std::int64_t ts_ms, std::string_view from,
                                  const raft::Cluster& cluster, const raft::Peers* peers,
                                  std::string_view mode) {
  etf::Writer writer;
  writer.version().tuple(4).atom("$ra_cluster_change");
  write_meta(writer, ts_ms, from);
  write_cluster_change_map(writer, cluster, peers);
  writer.raw(mode);
  return SharedBytes::copy_of(writer.view());
}

SharedBytes encode_forced_cluster_change(const raft::Cluster& cluster, const raft::Peers* peers) {
  etf::Writer writer;
  writer.version().tuple(4).atom("$ra_cluster_change").atom("undefined");
  write_cluster_change_map(writer, cluster, peers);
  writer.atom("no_reply");
  return SharedBytes::copy_of(writer.view());
}

SharedBytes encode_cluster_delete(std::int64_t ts_ms, std::string_view from,
                                  std::string_view mode) {
  etf::Writer writer;
  writer.version().tuple(4).atom("$ra_cluster");
  write_meta(writer, ts_ms, from);
  writer.atom("delete").raw(mode);
  return SharedBytes::copy_of(writer.view());
}

SharedBytes encode_core_entry(const raft::Entry& entry, std::int64_t ts_ms, std::string_view from,
                              std::string_view request, const raft::Peers* peers) {
  if (entry.kind == raft::EntryKind::noop) return encode_noop(ts_ms, entry.machine_version);
  RAKV_CHECK_MSG(entry.kind == raft::EntryKind::cluster_change && entry.cluster != nullptr,
                 "the core makes noops and cluster changes only");
  if (entry.origin == raft::EntryOrigin::forced) {
    return encode_forced_cluster_change(*entry.cluster, peers);
  }
  std::string_view mode = mode_of_request(request);
  if (mode.empty()) mode = kNoreply;
  return encode_cluster_change(ts_ms, from, *entry.cluster, peers, mode);
}

EntryView parse_entry(std::string_view payload) {
  EntryView view;
  etf::Cursor cursor(payload, etf::kAnyDepth);
  if (!cursor.version() || cursor.kind() != etf::TermKind::tuple) return view;
  const std::optional<std::uint32_t> arity = cursor.tuple();
  if (arity && parse_elements(cursor, *arity, view)) return view;
  return EntryView{};
}

raft::Entry to_core_entry(raft::Index index, raft::Term term, SharedBytes payload) {
  EntryView view = parse_entry(payload.view());
  raft::Entry entry;
  entry.index = index;
  entry.term = term;
  entry.kind = view.kind;
  entry.machine_version = view.machine_version;
  entry.cluster = std::move(view.cluster);
  entry.payload = std::move(payload);
  return entry;
}

}  // namespace rakv::wire
