// SPDX-License-Identifier: Apache-2.0
#include "raft/member/member_start.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "cnode/node/gen.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::member {
namespace {

/// Entries of one job on the worker, which ends with the one that passes so many bytes: a few
/// milliseconds.
constexpr std::uint64_t kSliceEntries = 512;
constexpr std::uint64_t kSliceBytes = 2 << 20;
/// What a request that waits for the member takes besides its bytes.
constexpr std::size_t kHeldBytes = 128;
/// What can't be read is tried again: for 30 s, then it counts as damaged.
constexpr std::chrono::milliseconds kReadPause{500};
constexpr int kReadsMax = 60;

}  // namespace

/// What has been made of the log so far.
struct MemberStart::Replay {
  raft::CoreState core;
  std::vector<raft::LogShape::Run> runs;
  std::unique_ptr<StateMachine> machine;
  raftlog::Index next = 1;
  std::uint64_t snapshot_bytes = 0;
  std::optional<raftlog::IndexSet> live_indexes;  ///< if the log does not know them

  Result<void> read_state(const raftlog::Snapshot& snapshot);
  void take(const raftlog::StoredEntry& entry);
};

Result<void> MemberStart::Replay::read_state(const raftlog::Snapshot& snapshot) {
  const std::string_view state = snapshot.state.view();
  if (const Result<void> read = machine->read_state(etf::without_version(state)); !read) {
    return make_error(ErrorCode::corrupt,
                      "the snapshot's machine state can't be read: " + read.error().message);
  }
  snapshot_bytes = snapshot_file_bytes(snapshot.meta, state.size());
  if (!snapshot.live_indexes_known) live_indexes = raftlog::IndexSet::of(machine->live_indexes());
  return {};
}

void MemberStart::Replay::take(const raftlog::StoredEntry& entry) {
  const raft::IndexTerm at{raft::Index{entry.index}, raft::Term{entry.term}};
  if (runs.empty() || runs.back().term != at.term) runs.push_back({at.index, at.term});
  next = entry.index + 1;
  const wire::EntryView view = wire::parse_entry(entry.payload.view());
  if (view.kind == raft::EntryKind::user) {
    if (at.index > core.last_applied) return;
    const CommandMeta meta{entry.index, entry.term, view.ts.value_or(0), view.from, view.mode};
    machine->apply(meta, view.data, nullptr);
  } else if (view.kind != raft::EntryKind::unknown) {
    core.special_entries.push_back({at, view.kind, view.cluster, view.machine_version});
  }
}

MemberStart::MemberStart(MemberServices& services, raftlog::MemberLog& log,
                         std::unique_ptr<StateMachine> machine, std::shared_ptr<Counters> counters,
                         MemberOptions options, Done done)
    : services_(services),
      log_(log),
      empty_machine_(std::move(machine)),
      counters_(std::move(counters)),
      options_(std::move(options)),
      done_(std::move(done)),
      log_id_(print_server_id(log.config().id)),
      held_charge_(services.node.charge(&MemoryAccounts::waiting)) {}

MemberStart::~MemberStart() { alive_.reset(); }

Result<void> MemberStart::begin() {
  pid_ = services_.node.spawn(*this);
  const std::string& name = log_.config().id.name();
  if (!services_.node.register_name(name, pid_)) {
    services_.node.terminate(pid_, etf::Writer().atom("shutdown").view());
    return make_error(ErrorCode::already_exists, "the name " + name + " is in use on this node");
  }
  log_.set_major_compaction_after(options_.major_compaction_after);
  log_.when_settled(guarded([this] { read_snapshot(); }));
  return {};
}

void MemberStart::cancel(std::string_view reason_atom) {
  if (!alive_) return;
  alive_.reset();
  services_.node.terminate(pid_, exit_reason(reason_atom));
}

void MemberStart::fail(Error error) {
  const Done done = std::move(done_);
  cancel("shutdown");
  done(std::move(error));
}

// --- while it lasts
// --------------------------------------------------------------------------------------------------------

void MemberStart::on_message(std::string_view message) {
  const std::optional<node::GenMessage> gen = node::parse_gen_message(message);
  if (!gen) return;
  const bool kept =
      gen->kind == node::GenMessage::Kind::call ||
      (gen->kind == node::GenMessage::Kind::cast &&
       std::holds_alternative<wire::request::Command>(wire::decode_client_request(gen->request)));
  if (!kept) return;
  if (held_charge_.try_grow(message.size() + kHeldBytes)) {
    held_.emplace_back(message);
  } else if (gen->kind == node::GenMessage::Kind::call) {
    etf::Writer reply;
    reply.tuple(2).atom("error").atom("system_limit");
    services_.node.reply(pid_, gen->from,
                         [&](distribution::OutMessage& out) { out.text.append(reply.view()); });
  }
}

void MemberStart::on_exit_signal(const etf::PidView&, std::string_view reason) {
  etf::Cursor cursor(reason);
  if (cursor.is_atom("normal")) return;
  spdlog::warn("{}: exit signal {} during the start, the server starts again", log_id_,
               etf::print_brief(reason));
  services_.on_crash(log_.config().id.name(), cursor.is_atom("kill") ? "killed" : "shutdown");
}

void MemberStart::report_progress() {
  const auto now = services_.node.clock().now();
  if (now - reported_ < std::chrono::seconds(1)) return;
  reported_ = now;
  spdlog::info("{}: reading the log, index {} of {}", log_id_, replay_->next, log_.last().index);
}

// --- snapshot, entries, member
// --------------------------------------------------------------------------------------------------------

Result<void> MemberStart::make_replay() {
  replay_ = std::make_shared<Replay>();
  replay_->machine = empty_machine_->fresh();
  replay_->next = std::max<raftlog::Index>(log_.first_index(), 1);
  raft::CoreState& core = replay_->core;
  const raftlog::ServerConfig& config = log_.config();
  core.id = config.id;
  core.uid = config.uid;
  core.options = options_.core;
  for (const auto& [key, value] : config.others) {
    etf::Cursor cursor(etf::without_version(value));
    if (key == "membership" && cursor.is_atom("promotable"))
      core.membership = raft::Membership::promotable;
    if (key == "membership" && cursor.is_atom("non_voter"))
      core.membership = raft::Membership::non_voter;
  }
  if (log_.snapshot()) {
    etf::Cursor cursor(etf::without_version(log_.snapshot()->meta.cluster));
    std::optional<raft::Cluster> cluster = wire::read_cluster(cursor);
    if (!cluster) return make_error(ErrorCode::corrupt, "the snapshot's cluster map can't be read");
    core.cluster = std::move(*cluster);
    core.last_applied = raft::Index{log_.snapshot()->meta.index};
  } else {
    for (const raft::ServerId& member : config.initial_members)
      core.cluster.emplace(member, raft::PeerConfig{});
  }
  if (log_.amnesia()) {
    // Of what is above the snapshot, some may be older than what was applied.
    core.amnesia = raft::Amnesia{log_.amnesia()->term_lost};
  } else {
    const std::uint64_t applied = std::min(log_.meta().last_applied, log_.last().index);
    core.last_applied = std::max(core.last_applied, raft::Index{applied});
  }
  return {};
}

void MemberStart::read_snapshot() {
  if (const Result<void> made = make_replay(); !made) return fail(made.error());
  if (!log_.snapshot()) return read_entries();
  log_.use_snapshot(
      [replay = replay_](const raftlog::Snapshot& snapshot) {
        return replay->read_state(snapshot);
      },
      guarded([this](const Result<void>& read) {
        if (!read) {
          if (!reads_again(read.error(), &MemberStart::read_snapshot)) fail(read.error());
          return;
        }
        if (replay_->live_indexes) {
          log_.set_live_indexes(std::move(*replay_->live_indexes), [log_id = log_id_](
                                                                       const Result<void>& stored) {
            if (stored) return;
            spdlog::error("{}: live indexes can't be stored: {}", log_id, stored.error().message);
          });
        }
        log_.release_snapshot_state();
        read_entries();
      }));
}

void MemberStart::read_entries() {
  report_progress();
  const raftlog::Index last = log_.last().index;
  if (replay_->next > last) return finish();
  std::uint64_t bytes = 0;
  raftlog::IndexRange slice{replay_->next, replay_->next};
  for (; slice.last < last && slice.last - slice.first + 1 < kSliceEntries; ++slice.last) {
    bytes += log_.payload_bytes(slice.last);
    if (bytes >= kSliceBytes) break;
  }
  log_.visit(
      slice, [replay = replay_](const raftlog::StoredEntry& entry) { replay->take(entry); },
      guarded([this](const Result<void>& read) {
        if (read) {
          reads_failed_ = 0;
          return read_entries();
        }
        if (reads_again(read.error(), &MemberStart::read_entries)) return;
        give_up_from(replay_->next, read.error().message);
      }));
}

/// An error of the disk is no damage yet: descriptors may have run out, or it may answer a moment
/// later. Amnesia would stay.
bool MemberStart::reads_again(const Error& error, void (MemberStart::*step)()) {
  if (error.code != ErrorCode::io || ++reads_failed_ > kReadsMax) return false;
  if (reads_failed_ == 1)
    spdlog::error("{}: the log can't be read, it is tried again: {}", log_id_, error.message);
  read_pause_.expires_after(kReadPause);
  read_pause_.async_wait(guarded([this, step](boost::system::error_code cancelled) {
    if (!cancelled) (this->*step)();
  }));
  return true;
}

/// What was applied meanwhile may be of a history that was not committed: the snapshot only counts,
/// and all begins anew.
void MemberStart::give_up_from(raftlog::Index index, const std::string& reason) {
  log_.forget_from(index, reason, guarded([this](const Result<void>& cut) {
                     if (!cut) return fail(cut.error());
                     read_snapshot();
                   }));
}

void MemberStart::finish() {
  raft::IndexTerm snapshot;
  if (log_.snapshot()) {
    snapshot = {raft::Index{log_.snapshot()->meta.index}, raft::Term{log_.snapshot()->meta.term}};
  }
  raft::CoreState& core = replay_->core;
  core.current_term = raft::Term{log_.meta().term};
  core.voted_for = log_.meta().voted_for;
  core.log = raft::LogShape(snapshot, std::move(replay_->runs), raft::Index{log_.last().index},
                            raft::Index{log_.last_written().index});
  RecoveredMember recovered{std::move(core), std::move(replay_->machine), replay_->snapshot_bytes,
                            pid_};
  alive_.reset();
  const Done done = std::move(done_);
  done(std::make_unique<Member>(services_, log_, std::move(counters_), std::move(options_),
                                std::move(recovered)));
}

}  // namespace rakv::member
