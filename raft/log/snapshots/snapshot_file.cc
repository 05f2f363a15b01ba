// SPDX-License-Identifier: Apache-2.0
#include "raft/log/snapshots/snapshot_file.h"

#include <algorithm>
#include <charconv>

#include "cnode/base/byte_order.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/version.h"
#include "cnode/etf/writer.h"
#include "raft/log/base/checksum.h"
#include "raft/log/base/terms.h"

namespace rakv::raftlog {
namespace {

constexpr std::string_view kSnapshotMagic{"RASN\x01", 5};
constexpr std::string_view kIndexesMagic{"RASI\x01", 5};
constexpr std::size_t kBodyAt = 9;  // after magic and CRC

std::string in_directory(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name);
}

Error bad_snapshot(ErrorCode code, const std::string& name, const std::string& what) {
  return make_error(code, name + ": " + what);
}

/// Magic, CRC over the body, body.
std::string sealed(std::string_view magic, std::string_view body) {
  std::string bytes(magic);
  put_number(bytes, crc32(0, body));
  return bytes.append(body);
}

Result<std::string_view> unseal(const std::string& name, std::string_view magic,
                                std::string_view bytes) {
  if (bytes.size() < kBodyAt || !bytes.starts_with(magic)) {
    return bad_snapshot(ErrorCode::malformed, name,
                        "does not begin with " + std::string(magic.substr(0, 4)) + " version 1");
  }
  const std::string_view body = bytes.substr(kBodyAt);
  if (load_number<std::uint32_t>(bytes, magic.size()) != crc32(0, body)) {
    return bad_snapshot(ErrorCode::corrupt, name, "its checksum does not fit");
  }
  return body;
}

Result<void> write_synced(Disk& disk, const std::string& path, const std::vector<IoSlice>& parts) {
  auto file = disk.create(path);
  if (!file) return file.error();
  if (auto done = (*file)->pwritev(0, parts); !done) return done;
  return (*file)->fdatasync();
}

/// The snapshot in one directory.
Result<Snapshot> read_snapshot_directory(Disk& disk, const std::string& directory) {
  const std::string path = directory + "/snapshot.dat";
  auto bytes = read_shared(disk, path);
  if (!bytes) return bytes.error();
  auto snapshot = decode_snapshot_file(path, std::move(*bytes));
  if (!snapshot) return snapshot;
  const auto indexes = read_file(disk, directory + "/indexes");
  auto live = indexes ? decode_indexes_file(directory + "/indexes", *indexes)
                      : Result<IndexSet>(indexes.error());
  snapshot->live_indexes_known = static_cast<bool>(live);
  if (live) snapshot->live_indexes = std::move(*live);
  return snapshot;
}

/// Names of snapshot directories, newest (highest term, then index) first.
std::vector<std::string> snapshot_names(const std::vector<DirectoryEntry>& entries) {
  std::vector<std::string> names;
  for (const auto& entry : entries) {
    if (entry.kind == DirectoryEntry::Kind::directory && position_of_snapshot_name(entry.name)) {
      names.push_back(entry.name);
    }
  }
  std::sort(names.rbegin(), names.rend());
  return names;
}

std::optional<std::uint64_t> hex(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, 16);
  if (error != std::errc{} || end != digits.end()) return std::nullopt;
  return value;
}

}  // namespace

EncodedTerm encode_snapshot_meta(const StoredSnapshotMeta& meta) {
  etf::Writer writer;
  writer.version().map(4);
  writer.atom("index").u64(meta.index);
  writer.atom("term").u64(meta.term);
  writer.atom("cluster").raw(etf::without_version(meta.cluster));
  writer.atom("machine_version").u64(meta.machine_version);
  return writer.take();
}

Result<StoredSnapshotMeta> decode_snapshot_meta(std::string_view etf) {
  const Error bad = make_error(ErrorCode::malformed,
                               "snapshot meta is not #{index, term, cluster, machine_version}");
  etf::Cursor cursor(etf);
  if (!cursor.version()) return bad;
  const auto pairs = cursor.map();
  StoredSnapshotMeta meta;
  unsigned seen = 0;
  for (std::uint32_t i = 0; pairs && i < *pairs && cursor.ok(); ++i) {
    if (cursor.is_atom("index")) {
      meta.index = cursor.u64().value_or(0);
      seen |= 1U;
    } else if (cursor.is_atom("term")) {
      meta.term = cursor.u64().value_or(0);
      seen |= 2U;
    } else if (cursor.is_atom("cluster")) {
      meta.cluster = etf::with_version(cursor.skip().value_or(std::string_view{}));
      seen |= 4U;
    } else if (cursor.is_atom("machine_version")) {
      meta.machine_version = cursor.u64().value_or(0);
      seen |= 8U;
    } else {  // keys of later versions
      cursor.skip();
      cursor.skip();
    }
  }
  if (!pairs || !cursor.at_end() || seen != 15U) return bad;
  return meta;
}

namespace {

/// What stands before the state in snapshot.dat.
std::string snapshot_head(const StoredSnapshotMeta& meta, std::string_view state) {
  const EncodedTerm encoded_meta = encode_snapshot_meta(meta);
  std::string sized_meta;
  put_number(sized_meta, static_cast<std::uint32_t>(encoded_meta.size()));
  sized_meta += encoded_meta;
  std::string head(kSnapshotMagic);
  put_number(head, crc32(crc32(0, sized_meta), state));
  return head + sized_meta;
}

struct SnapshotParts {
  StoredSnapshotMeta meta;
  std::size_t state_at;
};

Result<SnapshotParts> take_apart(const std::string& name, std::string_view bytes) {
  const auto body = unseal(name, kSnapshotMagic, bytes);
  if (!body) return body.error();
  if (body->size() < 4) return bad_snapshot(ErrorCode::malformed, name, "has no meta");
  const std::size_t meta_size = load_number<std::uint32_t>(*body, 0);
  if (meta_size > body->size() - 4) {
    return bad_snapshot(ErrorCode::malformed, name, "its meta is longer than the file");
  }
  auto meta = decode_snapshot_meta(body->substr(4, meta_size));
  if (!meta) return bad_snapshot(meta.error().code, name, meta.error().message);
  const std::string_view state = body->substr(4 + meta_size);
  if (!state.starts_with(etf::kVersionByte)) {
    return bad_snapshot(ErrorCode::malformed, name, "its machine state is not a term");
  }
  return SnapshotParts{std::move(*meta), bytes.size() - state.size()};
}

}  // namespace

std::string encode_snapshot_file(const StoredSnapshotMeta& meta, std::string_view state) {
  return snapshot_head(meta, state).append(state);
}

Result<Snapshot> decode_snapshot_file(const std::string& name, std::string_view bytes) {
  return decode_snapshot_file(name, SharedBytes::copy_of(bytes));
}

Result<Snapshot> decode_snapshot_file(const std::string& name, SharedBytes bytes) {
  auto parts = take_apart(name, bytes.view());
  if (!parts) return parts.error();
  Snapshot snapshot;
  snapshot.meta = std::move(parts->meta);
  bytes.narrow(parts->state_at, bytes.size() - parts->state_at);
  snapshot.state = std::move(bytes);
  return snapshot;
}

Result<StoredSnapshotMeta> verify_snapshot_file(const std::string& name, std::string_view bytes) {
  auto parts = take_apart(name, bytes);
  if (!parts) return parts.error();
  return std::move(parts->meta);
}

std::string encode_indexes_file(const IndexSet& live_indexes) {
  return sealed(kIndexesMagic, live_indexes.encode());
}

Result<IndexSet> decode_indexes_file(const std::string& name, std::string_view bytes) {
  std::string_view body = bytes;
  if (!bytes.starts_with(etf::kVersionByte)) {  // else: as old ra wrote it
    const auto unsealed = unseal(name, kIndexesMagic, bytes);
    if (!unsealed) return unsealed.error();
    body = *unsealed;
  }
  auto live = IndexSet::decode(body);
  if (!live) return bad_snapshot(live.error().code, name, live.error().message);
  return live;
}

std::string snapshot_directory_name(Position position) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string name;
  for (const std::uint64_t value : {position.term, position.index}) {
    if (!name.empty()) name.push_back('_');
    for (int shift = 60; shift >= 0; shift -= 4) name.push_back(kDigits[value >> shift & 15]);
  }
  return name;
}

std::optional<Position> position_of_snapshot_name(std::string_view name) {
  if (name.size() != 33 || name[16] != '_') return std::nullopt;
  const auto term = hex(name.substr(0, 16));
  const auto index = hex(name.substr(17));
  if (!term || !index) return std::nullopt;
  return Position{*index, *term};
}

Result<void> write_snapshot(Disk& disk, const std::string& snapshots_directory,
                            const Snapshot& snapshot) {
  const std::string directory = snapshots_directory + "/" +
                                snapshot_directory_name({snapshot.meta.index, snapshot.meta.term});
  // Without snapshot.dat the directory is nothing, so `indexes` is there before the snapshot
  // counts: a snapshot whose live indexes are unknown would let live entries be dropped (H1 in
  // docs/protocol/disk.md 7.1).
  const auto there = disk.exists(directory);
  if (!there) return there.error();
  if (*there) {
    if (auto done = remove_snapshot(disk, directory); !done) return done;
  }
  if (auto done = disk.make_directory(directory); !done) return done;
  const std::string indexes = encode_indexes_file(snapshot.live_indexes);
  auto done = write_synced(disk, directory + "/indexes", {{indexes.data(), indexes.size()}});
  if (done) {
    const std::string_view state = snapshot.state.view();
    const std::string head = snapshot_head(snapshot.meta, state);
    done = write_synced(disk, directory + "/snapshot.dat.tmp",
                        {{head.data(), head.size()}, {state.data(), state.size()}});
  }
  if (done) done = disk.sync_directory(directory);
  if (done) {
    done = disk.rename(directory + "/snapshot.dat.tmp", directory + "/snapshot.dat");
  }
  if (done) done = disk.sync_directory(directory);
  if (done) done = disk.sync_directory(snapshots_directory);
  return done;
}

Result<void> remove_snapshot(Disk& disk, const std::string& directory) {
  const auto there = disk.exists(directory);
  if (!there) return there.error();
  if (*there) {
    auto done = disk.unlink(directory + "/snapshot.dat");
    if (!done && done.error().code != ErrorCode::not_found) return done;
    if (done = disk.sync_directory(directory); !done) return done;
    if (done = remove_tree(disk, directory); !done) return done;
  }
  return disk.sync_directory(parent_of(directory));
}

Result<FoundSnapshot> find_snapshot(Disk& disk, const std::string& snapshots_directory) {
  FoundSnapshot found;
  const auto entries = disk.list(snapshots_directory);
  if (!entries) {
    if (entries.error().code == ErrorCode::not_found) return found;
    return entries.error();
  }
  bool changed = false;
  for (const auto& name : snapshot_names(*entries)) {
    const std::string directory = in_directory(snapshots_directory, name);
    const auto complete = disk.exists(directory + "/snapshot.dat");
    if (!complete) return complete.error();
    if (found.snapshot || !*complete) {  // older than the newest, or never finished
      if (auto done = remove_tree(disk, directory); !done) return done.error();
      changed = true;
      continue;
    }
    auto snapshot = read_snapshot_directory(disk, directory);
    if (snapshot) {
      // The process that wrote it may not have come as far as syncing its names, and older ones are
      // about to be removed.
      for (const std::string& named : {directory, snapshots_directory}) {
        if (auto done = disk.sync_directory(named); !done) return done.error();
      }
      found.snapshot = std::move(*snapshot);
      continue;
    }
    if (snapshot.error().code == ErrorCode::io) return snapshot.error();
    found.damaged.emplace_back(name, snapshot.error().message);
  }
  if (changed) {
    if (auto done = disk.sync_directory(snapshots_directory); !done) return done.error();
  }
  return found;
}

Result<void> set_snapshot_aside(Disk& disk, const std::string& snapshots_directory,
                                const std::string& name) {
  const std::string path = snapshots_directory + "/" + name;
  if (auto done = remove_tree(disk, path + ".bad"); !done) return done;
  if (auto done = disk.rename(path, path + ".bad"); !done) return done;
  return disk.sync_directory(snapshots_directory);
}

Result<void> remove_other_snapshots(Disk& disk, const std::string& snapshots_directory,
                                    Position keep) {
  const auto entries = disk.list(snapshots_directory);
  if (!entries) return entries.error();
  auto names = snapshot_names(*entries);
  std::reverse(names.begin(), names.end());
  for (const auto& name : names) {
    if (name == snapshot_directory_name(keep)) continue;
    if (auto done = remove_snapshot(disk, in_directory(snapshots_directory, name)); !done)
      return done;
  }
  return {};
}

}  // namespace rakv::raftlog
