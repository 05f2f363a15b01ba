// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

// Reply modes (ra_server_proc:validate_reply_mode and handle_effect reply/4).

namespace rakv::wire {

namespace {

/// A Mode read, and what a leader has against it, if anything.
struct ModeReading {
  ReplyMode mode;
  std::string refusal;
};

void refuse(ModeReading& reading, std::string_view mode) {
  reading.mode = ReplyMode{};
  reading.refusal = etf::Writer().tuple(2).atom("invalid_reply_mode").raw(mode).take();
}

/// Takes over `reply_from => Value`; false if ra does not know such an option.
bool read_option(std::string_view key, std::string_view value, ReplyMode& mode) {
  if (!etf::Cursor(key).is_atom("reply_from")) return false;
  etf::Cursor cursor(value);
  if (cursor.is_atom("leader")) {
    mode.reply_from = ReplyMode::ReplyFrom::leader;
    return true;
  }
  if (cursor.is_atom("local")) {
    mode.reply_from = ReplyMode::ReplyFrom::local;
    return true;
  }
  if (cursor.kind() != etf::TermKind::tuple || !cursor.tuple(2) || !cursor.is_atom("member")) {
    return false;
  }
  mode.reply_from = ReplyMode::ReplyFrom::member;
  // Any term passes here; one that is no server id is no member either, so the leader replies.
  mode.member = read_server_id(cursor).value_or(raft::ServerId{});
  return true;
}

void read_options(etf::Cursor& cursor, ModeReading& reading) {
  reading.mode.has_options = true;
  const std::uint32_t count = cursor.map().value_or(0);
  for (std::uint32_t i = 0; i < count && cursor.ok(); ++i) {
    const std::string_view key = cursor.skip().value_or(std::string_view{});
    const std::string_view value = cursor.skip().value_or(std::string_view{});
    if (!cursor.ok()) return;
    if (read_option(key, value, reading.mode)) continue;
    reading.refusal = etf::Writer().tuple(3).atom("unknown_option").raw(key).raw(value).take();
    reading.mode = ReplyMode{};
    return;
  }
}

/// `{notify, Corr, Pid}` after its tag: Corr an integer or a reference.
bool read_notification(etf::Cursor& cursor, ReplyMode& mode) {
  const etf::TermKind correlation = cursor.kind();
  if (correlation != etf::TermKind::integer && correlation != etf::TermKind::reference) {
    return false;
  }
  mode.correlation = cursor.skip().value_or(std::string_view{});
  if (cursor.kind() != etf::TermKind::pid) return false;
  mode.pid = cursor.skip().value_or(std::string_view{});
  mode.kind = ReplyMode::Kind::notify;
  return cursor.ok();
}

bool read_atom_mode(etf::Cursor& cursor, ReplyMode& mode) {
  if (cursor.is_atom("await_consensus")) {
    mode.kind = ReplyMode::Kind::await_consensus;
  } else if (cursor.is_atom("after_log_append")) {
    mode.kind = ReplyMode::Kind::after_log_append;
  } else if (cursor.is_atom("noreply")) {
    mode.kind = ReplyMode::Kind::noreply;
  } else {
    return false;
  }
  return true;
}

/// The tuple forms; false if it is none of them.
bool read_tuple_mode(etf::Cursor& cursor, ModeReading& reading) {
  const std::uint32_t arity = cursor.tuple().value_or(0);
  if (arity == 2 && cursor.is_atom("await_consensus")) {
    reading.mode.kind = ReplyMode::Kind::await_consensus;
  } else if ((arity != 3 && arity != 4) || !cursor.is_atom("notify") ||
             !read_notification(cursor, reading.mode)) {
    return false;
  } else if (arity == 3) {
    return true;
  }
  if (cursor.kind() != etf::TermKind::map) return false;
  read_options(cursor, reading);
  return cursor.ok();
}

ModeReading read_mode(std::string_view mode) {
  ModeReading reading;
  etf::Cursor cursor(mode);
  bool read = false;
  if (cursor.kind() == etf::TermKind::atom) {
    read = read_atom_mode(cursor, reading.mode);
  } else if (cursor.kind() == etf::TermKind::tuple) {
    read = read_tuple_mode(cursor, reading);
  }
  if (!read) refuse(reading, mode);
  return reading;
}

}  // namespace

ReplyMode parse_reply_mode(std::string_view mode) {
  etf::Cursor cursor(mode);
  if (cursor.kind() == etf::TermKind::atom) {
    // The common way, without what a refusal would cost.
    ReplyMode plain;
    if (!read_atom_mode(cursor, plain) && cursor.is_atom("no_reply")) {
      plain.kind = ReplyMode::Kind::noreply;
    }
    return plain;
  }
  return std::move(read_mode(mode).mode);
}

std::optional<std::string> invalid_reply_mode(std::string_view mode) {
  ModeReading reading = read_mode(mode);
  if (reading.refusal.empty()) return std::nullopt;
  return std::move(reading.refusal);
}

ReplyMode parse_notify(std::string_view mode) {
  ReplyMode notify;
  etf::Cursor cursor(mode);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 3u || !cursor.is_atom("notify"))
    return notify;
  notify.correlation = cursor.skip().value_or(std::string_view{});
  if (cursor.kind() != etf::TermKind::pid) return notify;
  notify.pid = cursor.skip().value_or(std::string_view{});
  if (!notify.pid.empty()) notify.kind = ReplyMode::Kind::notify;
  return notify;
}

}  // namespace rakv::wire
