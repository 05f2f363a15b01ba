// SPDX-License-Identifier: Apache-2.0
#include "raft/member/applier.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "cnode/base/check.h"
#include "cnode/node/gen.h"
#include "raft/wire/entry.h"

namespace rakv::member {
namespace {

/// Entries that are not in memory are read in runs of this many, or to the one that passes so many
/// bytes.
constexpr std::uint64_t kReadMax = 64;
constexpr std::uint64_t kReadBytes = 4 << 20;

}  // namespace

Applier::Applier(Seams seams, std::unique_ptr<StateMachine> machine, raft::Index applied)
    : seams_(std::move(seams)), machine_(std::move(machine)), applied_(applied) {}

Applier::~Applier() { *alive_ = false; }

std::unique_ptr<StateMachine> Applier::replace(std::unique_ptr<StateMachine> machine,
                                               raft::Index applied) {
  applied_ = applied;
  return std::exchange(machine_, std::move(machine));
}

void Applier::stop() { stopped_ = true; }

void Applier::carry_out(const raft::effect::Apply& range) {
  ranges_.push_back(range);
  go_on();
}

void Applier::go_on() {
  while (!ranges_.empty() && !stopped_) {
    raft::effect::Apply& range = ranges_.front();
    while (range.first <= range.last) {
      const raftlog::StoredEntry* entry = seams_.log.fetch(range.first.value());
      if (entry == nullptr) break;
      apply(*entry, range.leader);
      ++range.first;
    }
    if (range.first <= range.last) return read_from_disk(range);
    ranges_.erase(ranges_.begin());
  }
  seams_.applied();
}

void Applier::read_from_disk(const raft::effect::Apply& range) {
  std::vector<raftlog::Index> wanted;
  std::uint64_t bytes = 0;
  for (raft::Index index = range.first;
       index <= range.last && wanted.size() < kReadMax && bytes < kReadBytes; ++index) {
    if (seams_.log.fetch(index.value()) != nullptr) break;
    bytes += seams_.log.payload_bytes(index.value());
    wanted.push_back(index.value());
  }
  seams_.wait();
  seams_.log.read(wanted,
                  [this, alive = alive_](Result<std::vector<raftlog::StoredEntry>> entries) {
                    if (!*alive || stopped_) return;
                    // The start finds out what of the log can be read, and fetches the rest from
                    // the leader.
                    if (!entries) return seams_.failed(entries.error());
                    raft::effect::Apply& waiting = ranges_.front();
                    for (const raftlog::StoredEntry& entry : *entries) {
                      RAKV_CHECK(entry.index == waiting.first.value());
                      apply(entry, waiting.leader);
                      ++waiting.first;
                    }
                    go_on();
                    seams_.resume();
                  });
}

void Applier::apply(const raftlog::StoredEntry& entry, bool as_leader) {
  applied_ = raft::Index{entry.index};
  const wire::EntryView view = wire::parse_entry(entry.payload.view());
  if (view.kind == raft::EntryKind::unknown) {
    spdlog::warn("{}: unknown command at index {} is skipped", seams_.log_id, entry.index);
    return;
  }
  if (view.kind == raft::EntryKind::noop) return;

  const wire::ReplyMode mode = wire::parse_reply_mode(view.mode);
  const bool answers = replies_here(mode, view.from, as_leader);
  const bool notifies =
      as_leader && mode.kind == wire::ReplyMode::Kind::notify && !mode.has_options;

  outcome_.clear();
  if (answers) outcome_.tuple(2).atom("wrap_reply");
  if (view.kind == raft::EntryKind::user) {
    const CommandMeta meta{entry.index, entry.term, view.ts.value_or(0), view.from, view.mode};
    machine_->apply(meta, view.data, answers || notifies ? &outcome_ : nullptr);
  } else if (answers || notifies) {
    outcome_.atom("ok");
  }
  if (answers) seams_.calls.answer(view.from, outcome_.view());
  if (notifies) seams_.notifications.add(mode, outcome_.view());
  if (as_leader && view.ts)
    seams_.counters.set(Counter::commit_latency, seams_.system_time_ms() - *view.ts);
}

// ra_server_proc:handle_effect reply/4: the leader answers unless the mode names another.
bool Applier::replies_here(const wire::ReplyMode& mode, std::string_view from,
                           bool as_leader) const {
  if (mode.kind != wire::ReplyMode::Kind::await_consensus || from.empty()) return false;
  const raft::Core& core = seams_.core;
  switch (mode.reply_from) {
    case wire::ReplyMode::ReplyFrom::leader:
      return as_leader;
    case wire::ReplyMode::ReplyFrom::member:
      return core.cluster().contains(mode.member) ? mode.member == core.id() : as_leader;
    case wire::ReplyMode::ReplyFrom::local:
      break;
  }
  etf::Cursor cursor(from);
  const std::optional<node::ReplyAddress> address = node::parse_from(cursor);
  if (!address) return false;
  if (address->pid.node == core.id().node())
    return as_leader || core.membership() == raft::Membership::voter;
  if (!as_leader) return false;
  for (const auto& [member, config] : core.cluster()) {
    if (member.node() == address->pid.node && config.is_voter()) return false;
  }
  return true;
}

}  // namespace rakv::member
