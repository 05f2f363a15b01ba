// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "cnode/base/turn.h"
#include "raft/member/member.h"
#include "raft/member/overview.h"
#include "raft/wire/ids.h"

// What the parts of a member get of it: each sees these, and nothing else of the member.

namespace rakv::member {
namespace {

/// How long a caller's node may take to evaluate a fun.
constexpr std::chrono::milliseconds kEvaluationTimeout{30'000};

/// Live entries that wait for the disk while a snapshot comes in. Beyond it the leader waits for
/// its answers.
std::uint64_t incoming_bytes_max(const raftlog::LogSystem& log_system) {
  constexpr std::uint64_t kMost = 64 << 20;
  return std::min(kMost, log_system.memory_budget().waiting_bytes() / 2);
}

}  // namespace

PeerContext Member::peer_context() {
  return {services_.node,
          log_,
          core_,
          *counters_,
          pid_,
          log_id_,
          [this](raft::Event event) { step(std::move(event)); },
          [this](std::vector<raftlog::Index> indexes, raftlog::MemberLog::ReadCallback callback) {
            entry_repair_.read(std::move(indexes), std::move(callback));
          }};
}

ClientCalls::Charges Member::call_charges() const {
  return {services_.node.charge(&MemoryAccounts::waiting),
          services_.node.charge(&MemoryAccounts::queries),
          services_.node.charge(&MemoryAccounts::waiting)};
}

Notifications::Seams Member::notification_seams() {
  return {[this](const std::string& pid_term, const etf::PidView& pid, std::string_view event) {
            if (event_formatter_) {
              event_formatter_->send(pid_term, std::string(event));
              return true;
            }
            const node::Delivery delivery = services_.node.send(
                pid_, pid,
                [&](distribution::OutMessage& out) {
                  etf::Writer writer(out.text);
                  writer.tuple(3).atom("ra_event");
                  wire::write_server_id(writer, id_);
                  writer.raw(event);
                },
                false);
            return delivery == node::Delivery::queued;
          },
          [this] { return services_.node.charge(&MemoryAccounts::notifications); }};
}

Applier::Seams Member::applier_seams() {
  return {log_,
          core_,
          *counters_,
          log_id_,
          calls_,
          notifications_,
          [this] { return services_.system_time_ms(); },
          [this] { ++waiting_; },
          [this] { resume(); },
          [this] {
            notifications_.flush();
            check_waiting_queries();
            held_reads_.reached(last_applied());
          },
          [this](const Error& error) {
            spdlog::error("{}: committed entries can't be read, the server starts again: {}",
                          log_id_, error.message);
            services_.on_crash(id_.name(), "shutdown");
          }};
}

OwnSnapshots::Seams Member::own_snapshot_seams() {
  return {log_,
          *counters_,
          log_id_,
          [this]() -> StateMachine& { return applier_.machine(); },
          [this] { return last_applied(); },
          [this] { return blocked(); },
          [this] { return core_.sending_snapshots(); },
          [this](raft::Index index) -> const raft::Cluster& { return core_.cluster_at(index); },
          [this](std::function<void()> then) { boost::asio::post(services_.io, std::move(then)); },
          [this](raft::event::SnapshotTaken event) { step(event); }};
}

ClientCommands::Seams Member::command_seams() {
  return {core_,
          *counters_,
          calls_,
          notifications_,
          [this]() -> const StateMachine& { return applier_.machine(); },
          [this] { return blocked(); },
          [this] { return overloaded(); },
          [this] { return services_.system_time_ms(); },
          [this](std::string_view part) { return services_.node.take_message(part); },
          [this](std::function<void()> then) { Turn::of(services_.io).at_end(std::move(then)); },
          [this](std::string_view from) { refuse_for_memory(from); },
          [this](const raft::ServerId& to, FunctionRef<void(etf::Writer&)> write) {
            services_.node.cast(pid_, to.node(), to.name(), [&](distribution::OutMessage& out) {
              etf::Writer writer(out.text);
              write(writer);
            });
          },
          [this](raft::Event event) { step(std::move(event)); }};
}

Queries::Seams Member::query_seams() {
  return {core_,
          *counters_,
          calls_,
          *this,
          [this]() -> StateMachine& { return applier_.machine(); },
          [this] { return last_applied(); },
          [this] { return role(); },
          [this](std::uint64_t index) { return log_.term_at(index); },
          [this](std::string_view node, std::string_view arguments, Queries::Evaluated done) {
            services_.node.apply(node, "ra_machine", "query", arguments, kEvaluationTimeout,
                                 [done = std::move(done)](const node::ApplyResult& result) {
                                   using Status = node::ApplyResult::Status;
                                   if (result.status == Status::timeout) return;
                                   done(result.status == Status::returned, result.term);
                                 });
          },
          [this](std::string_view from) { refuse_for_memory(from); },
          [this](std::uint64_t bytes) {
            return services_.node.charge(&MemoryAccounts::waiting, bytes);
          },
          [this] { own_snapshots_.want(); }};
}

EntryReads::Seams Member::entry_read_seams() {
  return {log_,
          *counters_,
          log_id_,
          calls_,
          held_reads_,
          services_.node.memory(),
          [this] { return last_applied(); },
          [this](std::vector<raftlog::Index> indexes, raftlog::MemberLog::ReadCallback callback) {
            entry_repair_.read(std::move(indexes), std::move(callback));
          },
          [this](std::string_view from, std::uint64_t bytes,
                 std::function<void(std::optional<ByteCharge>)> then) {
            services_.node.when_room(node_of_caller(from), bytes, std::move(then));
          },
          [this](std::string_view from) { refuse_for_memory(from); }};
}

Peers::Seams Member::peer_seams() {
  return {peer_context_, calls_,
          [this] {
            const raftlog::LogSystem& log_system = services_.log_system;
            return log_system.queued_bytes() <= incoming_bytes_max(log_system);
          },
          [this] {
            const raftlog::LogSystem& log_system = services_.log_system;
            return log_system.queued_bytes() <= incoming_bytes_max(log_system) / 2;
          }};
}

PeerWatch::Seams Member::peer_watch_seams() {
  return {[this](const std::string& node) { services_.node.keep_connected(node); },
          [this](const std::string& node) { services_.node.release_connection(node); },
          [this](const raft::ServerId& server) {
            return services_.node.monitor(pid_, server.node(), server.name());
          },
          [this](const etf::Reference& monitor) { services_.node.demonitor(monitor); }};
}

Farewell::Seams Member::farewell_seams() {
  return {[this] { return core_.cluster_index_term().index; },
          [this] { return queries_.awaited_index(); },
          [this](std::string_view from, const raft::ServerId& leader) {
            calls_.answer_redirect(from, leader);
          },
          [this](std::string_view from, const wire::request::LocalQuery& asked) {
            queries_.serve_local(from, asked);
          },
          [this](raft::effect::StopReason reason) { end(reason); }};
}

TermVoteStorage::Seams Member::term_vote_seams() {
  return {*counters_, log_id_,
          [this](const raft::effect::PersistTermVote& effect, raftlog::DoneCallback done) {
            services_.log_system.store_term_vote(log_.uid(), effect.term.value(), effect.voted_for,
                                                 std::move(done));
          },
          [this] { ++waiting_; }, [this] { resume(); }};
}

void Member::write_members(etf::Writer& writer) const { write_member_ids(*this, writer); }

}  // namespace rakv::member
