// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/node/gen.h"
#include "raft/member/member.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

// Committed entries to the machine, and what the machine says to those who wait
// (docs/protocol/wire.md 4.3 and 4.4).

namespace rakv::member {
namespace {

/// Entries that are not in memory are read in runs of this many, or to the one that passes so many
/// bytes.
constexpr std::uint64_t kApplyReadMax = 64;
constexpr std::uint64_t kApplyReadBytes = 4 << 20;
/// A notification that has grown to this is sent before the batch of entries ends.
constexpr std::size_t kNotificationBytes = 256 * 1024;

}  // namespace

void CommandMeta::write(etf::Writer& writer) const {
  writer.map(from.empty() ? 5 : 6);
  writer.atom("index").u64(index);
  writer.atom("term").u64(term);
  writer.atom("machine_version").integer(0);
  writer.atom("system_time").integer(system_time_ms);
  writer.atom("reply_mode").raw(reply_mode);
  if (!from.empty()) writer.atom("from").raw(from);
}

void Member::apply_range(raft::Index first, raft::Index last, bool leader) {
  apply_queue_.push_back({first, last, leader});
  continue_apply();
}

// Entries of the recent past are in memory; after a restart some may have to come from segments,
// and then the effects behind wait (blocked()) until the read is done.
void Member::continue_apply() {
  while (!apply_queue_.empty() && !stopped_) {
    raft::effect::Apply& range = apply_queue_.front();
    while (range.first <= range.last) {
      const raftlog::Entry* entry = log_.fetch(range.first.value());
      if (entry == nullptr) break;
      apply_entry(*entry, range.leader);
      ++range.first;
    }
    if (range.first > range.last) {
      apply_queue_.erase(apply_queue_.begin());
      continue;
    }
    std::vector<raftlog::Index> wanted;
    std::uint64_t bytes = 0;
    for (raft::Index index = range.first;
         index <= range.last && wanted.size() < kApplyReadMax && bytes < kApplyReadBytes; ++index) {
      if (log_.fetch(index.value()) != nullptr) break;
      bytes += log_.payload_bytes(index.value());
      wanted.push_back(index.value());
    }
    ++waiting_;
    log_.read(std::move(wanted),
              [this, alive = alive_](Result<std::vector<raftlog::Entry>> entries) {
                if (!*alive || stopped_) return;
                if (!entries) {
                  // The start finds out what of the log can be read, and fetches the rest from the
                  // leader.
                  spdlog::error("{}: committed entries can't be read, the server starts again: {}",
                                log_id_, entries.error().message);
                  services_.on_crash(id_.name(), "shutdown");
                  return;
                }
                raft::effect::Apply& waiting = apply_queue_.front();
                for (const raftlog::Entry& entry : *entries) {
                  RAKV_CHECK(entry.index == waiting.first.value());
                  apply_entry(entry, waiting.leader);
                  ++waiting.first;
                }
                continue_apply();
                resume();
              });
    return;
  }
  flush_notifications();
  check_conditional_queries();
  held_reads_.reached(applied_);
}

void Member::apply_entry(const raftlog::Entry& entry, bool as_leader) {
  applied_ = raft::Index{entry.index};
  const wire::EntryView view = wire::parse_entry(entry.payload.view());
  if (view.kind == raft::EntryKind::unknown) {
    spdlog::warn("{}: unknown command at index {} is skipped", log_id_, entry.index);
    return;
  }
  if (view.kind == raft::EntryKind::noop) return;

  const wire::ReplyMode mode = wire::parse_reply_mode(view.mode);
  const bool answers = replies_here(mode, view.from, as_leader);
  const bool notifies =
      as_leader && mode.kind == wire::ReplyMode::Kind::notify && !mode.has_options;

  reply_.clear();
  if (answers) reply_.tuple(2).atom("wrap_reply");
  if (view.kind == raft::EntryKind::user) {
    const CommandMeta meta{entry.index, entry.term, view.ts.value_or(0), view.from, view.mode};
    machine_->apply(meta, view.data, answers || notifies ? &reply_ : nullptr);
  } else if (answers || notifies) {
    reply_.atom("ok");
  }
  if (answers) answer(view.from, reply_.view());
  if (notifies) {
    Notification& notification = notifications_[std::string(mode.pid)];
    etf::Writer(notification.pairs).tuple(2).raw(mode.correlation).raw(reply_.view());
    ++notification.count;
    if (notification.pairs.size() >= kNotificationBytes) {
      const std::string pid(mode.pid);
      notify(pid, notification);
      notifications_.erase(pid);
    }
  }
  if (as_leader && view.ts)
    counters_->set(Counter::commit_latency, services_.system_time_ms() - *view.ts);
}

// ra_server_proc:handle_effect reply/4: the leader answers unless the mode names another.
bool Member::replies_here(const wire::ReplyMode& mode, std::string_view from,
                          bool as_leader) const {
  if (mode.kind != wire::ReplyMode::Kind::await_consensus || from.empty()) return false;
  switch (mode.reply_from) {
    case wire::ReplyMode::ReplyFrom::leader:
      return as_leader;
    case wire::ReplyMode::ReplyFrom::member:
      return core_.cluster().contains(mode.member) ? mode.member == id_ : as_leader;
    case wire::ReplyMode::ReplyFrom::local:
      break;
  }
  etf::Cursor cursor(from);
  const std::optional<node::ReplyAddress> address = node::parse_from(cursor);
  if (!address) return false;
  if (address->pid.node == services_.node.name())
    return as_leader || core_.membership() == raft::Membership::voter;
  if (!as_leader) return false;
  for (const auto& [member, config] : core_.cluster()) {
    if (member.node() == address->pid.node && config.is_voter()) return false;
  }
  return true;
}

void Member::flush_notifications() {
  for (const auto& [pid, notification] : notifications_) notify(pid, notification);
  notifications_.clear();
}

void Member::notify(const std::string& pid, const Notification& notification) {
  etf::Writer body;
  body.tuple(2).atom("applied").list(notification.count).append(notification.pairs).nil();
  send_notification(pid, body.view());
}

void Member::send_notification(const std::string& pid_term, std::string_view body) {
  etf::Cursor cursor(pid_term);
  const std::optional<etf::PidView> pid =
      cursor.kind() == etf::TermKind::pid ? cursor.pid_view() : std::nullopt;
  if (!pid) return;
  if (event_formatter_) return event_formatter_->send(pid_term, std::string(body));
  const node::Delivery delivery = services_.node.send(
      pid_, *pid,
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        writer.tuple(3).atom("ra_event");
        wire::write_server_id(writer, id_);
        writer.raw(body);
      },
      false);
  if (delivery == node::Delivery::queued) return;
  keep_undelivered(pid_term, body);
}

void Member::retry_notifications() {
  std::deque<Undelivered> again;
  again.swap(undelivered_);
  for (; !again.empty(); again.pop_front()) {
    const Undelivered next = std::move(again.front());
    send_notification(next.pid, next.body);
  }
}

}  // namespace rakv::member
