// SPDX-License-Identifier: Apache-2.0
#include "raft/member/entry_repair.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "cnode/etf/map_pairs.h"
#include "cnode/etf/text.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

constexpr std::chrono::seconds kFetchTimeout{10};
/// After a failure the same entry is not looked for again before this has passed.
constexpr std::chrono::seconds kPause{10};
/// Segments that one read may have repaired.
constexpr int kAttempts = 16;
/// Readers that wait; a further one gets its error at once.
constexpr std::size_t kQueueMax = 1000;

}  // namespace

// ---- reading

void EntryRepair::read(std::vector<raftlog::Index> indexes,
                       raftlog::MemberLog::ReadCallback callback) {
  attempt(std::make_shared<const std::vector<raftlog::Index>>(std::move(indexes)), kAttempts,
          std::move(callback));
}

void EntryRepair::attempt(const Indexes& indexes, int left,
                          raftlog::MemberLog::ReadCallback callback) {
  context_.log.read(*indexes, [this, indexes, left, callback = std::move(callback), alive = alive_](
                                  Result<std::vector<raftlog::StoredEntry>> entries) mutable {
    if (!*alive) return;
    if (entries || entries.error().code != ErrorCode::corrupt || left == 0)
      return callback(std::move(entries));
    find_first(indexes, 0,
               [this, indexes, left, callback = std::move(callback),
                error = entries.error()](std::optional<raftlog::Index> index) mutable {
                 if (!index) return attempt(indexes, left - 1, std::move(callback));
                 repair(*index, [this, indexes, left, callback = std::move(callback),
                                 error = std::move(error)](bool replaced) mutable {
                   if (!replaced) return callback(std::move(error));
                   attempt(indexes, left - 1, std::move(callback));
                 });
               });
  });
}

void EntryRepair::find_first(const Indexes& indexes, std::size_t position,
                             std::function<void(std::optional<raftlog::Index>)> found) {
  if (indexes->size() == 1) return found(indexes->front());
  if (position == indexes->size()) return found(std::nullopt);
  context_.log.read({(*indexes)[position]},
                    [this, indexes, position, found = std::move(found), alive = alive_](
                        const Result<std::vector<raftlog::StoredEntry>>& entries) mutable {
                      if (!*alive) return;
                      if (!entries && entries.error().code == ErrorCode::corrupt)
                        return found((*indexes)[position]);
                      find_first(indexes, position + 1, std::move(found));
                    });
}

// ---- one segment after the other

void EntryRepair::repair(raftlog::Index index, std::function<void(bool)> done) {
  const auto now = context_.node.clock().now();
  std::erase_if(not_before_, [now](const auto& pause) { return pause.second <= now; });
  if (queue_.size() >= kQueueMax || not_before_.contains(index)) return done(false);
  queue_.push_back({index, std::move(done), {}, {}, {}});
  if (!busy_) start_next();
}

void EntryRepair::start_next() {
  busy_ = !queue_.empty();
  if (!busy_) return;
  context_.log.find_damage(queue_.front().index,
                           [this, alive = alive_](Result<raftlog::SegmentDamage> damage) {
                             if (*alive) look_at(std::move(damage));
                           });
}

void EntryRepair::look_at(Result<raftlog::SegmentDamage> damage) {
  if (!damage) return finish(damage.error().message);
  Job& job = queue_.front();
  job.damage = std::move(*damage);
  if (job.damage.dropped.contains(job.index)) return finish("it was superseded");
  if (job.damage.needed.empty()) return finish(std::nullopt);  // another reader's job has done it
  spdlog::error("{}: {}: {} entries can't be read, among them {}; they are fetched from others",
                context_.log_id, job.damage.segment->path(), job.damage.needed.size(), job.index);
  const std::optional<raft::ServerId>& leader = context_.core.leader();
  for (const auto& [member, config] : context_.core.cluster()) {
    if (member == context_.core.id()) continue;
    const bool leads = leader && member == *leader;
    job.peers.insert(leads ? job.peers.begin() : job.peers.end(), member);
  }
  fetch_next();
}

void EntryRepair::fetch_next() {
  Job& job = queue_.front();
  if (job.replacements.size() == job.damage.needed.size()) return write();
  const raftlog::SegmentSlot& slot = job.damage.needed[job.replacements.size()];
  if (job.next_peer == job.peers.size()) {
    return finish(fmt::format("no member could supply entry {}: {}", slot.index, job.last_error));
  }
  const raft::ServerId& peer = job.peers[job.next_peer];
  etf::Writer arguments;
  arguments.list(4);
  wire::write_server_id(arguments, peer);
  arguments.u64(slot.index).nil().u64(std::chrono::milliseconds(kFetchTimeout).count()).nil();
  context_.node.apply(
      peer.node(), machine_().module(), "read_entry", arguments.view(), kFetchTimeout,
      [this, alive = alive_](const node::ApplyResult& result) {
        if (!*alive) return;
        Job& asked = queue_.front();
        const raftlog::SegmentSlot& wanted = asked.damage.needed[asked.replacements.size()];
        if (auto wrong = take(wanted, result)) {
          asked.last_error = to_string(asked.peers[asked.next_peer]) + ": " + *wrong;
          ++asked.next_peer;
        } else {
          asked.next_peer = 0;
        }
        fetch_next();
      });
}

/// `{ok, #{index, term, ts, ...}, Value}`.
std::optional<std::string> EntryRepair::take(const raftlog::SegmentSlot& slot,
                                             const node::ApplyResult& result) {
  if (result.status == node::ApplyResult::Status::timeout) return "no answer in time";
  const auto unusable = [&] { return "it answered " + etf::print_brief(result.term); };
  if (result.status != node::ApplyResult::Status::returned) return unusable();
  etf::Cursor cursor(result.term);
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 3u || !cursor.is_atom("ok"))
    return unusable();
  const auto meta = cursor.skip();
  const auto value = cursor.skip();
  if (!meta || !value) return unusable();
  if (etf::map_u64(*meta, "index") != slot.index || etf::map_u64(*meta, "term") != slot.term)
    return "it has another entry at this index";
  const Result<std::string> command = machine_().command_at(slot.index, *value);
  if (!command) return command.error().message;
  const auto ts = static_cast<std::int64_t>(etf::map_u64(*meta, "ts").value_or(0));
  // `{Pid, Tag}`; nothing for a command without one.
  const std::string_view caller = etf::map_value(*meta, "from").value_or(std::string_view{});
  const std::string mode = etf::Writer().atom("noreply").take();
  queue_.front().replacements.emplace(
      slot.index,
      raftlog::StoredEntry{slot.index, slot.term, wire::encode_user(ts, caller, *command, mode)});
  return std::nullopt;
}

void EntryRepair::write() {
  Job& job = queue_.front();
  context_.log.replace_damaged(job.damage, std::exchange(job.replacements, {}),
                               [this, alive = alive_](const Result<void>& written) {
                                 if (!*alive) return;
                                 if (!written) return finish(written.error().message);
                                 const raftlog::SegmentDamage& damage = queue_.front().damage;
                                 spdlog::warn(
                                     "{}: {}: {} entries were fetched from other members; "
                                     "the damaged file is kept as {}.bad",
                                     context_.log_id, damage.segment->path(), damage.needed.size(),
                                     damage.segment->path());
                                 finish(std::nullopt);
                               });
}

void EntryRepair::finish(const std::optional<std::string>& error) {
  Job job = std::move(queue_.front());
  queue_.pop_front();
  if (error) {
    spdlog::error("{}: entry {} can't be replaced: {}", context_.log_id, job.index, *error);
    not_before_[job.index] = context_.node.clock().now() + kPause;
  }
  const std::shared_ptr<bool> alive = alive_;
  job.done(!error);
  if (*alive) start_next();
}

}  // namespace rakv::member
