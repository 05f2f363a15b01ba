// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/beam_rules.h"

namespace rakv::simulation {

/// What a server on a BEAM sees of its node.
struct BeamSeams {
  using Answer = std::function<void(const std::optional<std::string>& term)>;
  /// `{'$gen_cast', Record}`, dropped without a link.
  std::function<void(const raft::ServerId& to, std::string_view record)> cast;
  /// A bare message to a pid.
  std::function<void(std::string_view pid, std::string_view message)> send;
  std::function<void(std::string_view from, std::string_view term)> reply;
  /// Nothing is answered when there is no such server, no link, or no time left.
  std::function<void(const raft::ServerId& to, std::string request, std::uint64_t milliseconds,
                     Answer)>
      call;
  std::function<void(const std::string& node, std::string_view module, std::string_view function,
                     std::string arguments, Answer)>
      apply;
  std::function<std::uint64_t(const raft::ServerId&)> monitor;
  std::function<void(std::uint64_t)> demonitor;
  std::function<void(const std::string& node)> connect;
  std::function<bool(const std::string& node)> is_connected;
  /// aten:register/1: the node's state comes by on_node_status().
  std::function<void(const std::string& node)> watch_node;
  /// In the place of one of that name.
  std::function<void(const std::string& name, std::uint64_t milliseconds)> set_timer;
  std::function<void(const std::string& name)> cancel_timer;
  std::function<std::int64_t()> now_ms;
  /// From 1 to `most`.
  std::function<std::uint64_t(std::uint64_t most)> draw;
  std::function<std::string()> make_token;
  /// There may be something for the WAL.
  std::function<void()> wake_wal;
  /// Something that takes a while, done beside the server.
  std::function<void(std::function<void()>)> background;
  /// After everything that waits now.
  std::function<void(std::function<void()>)> later;
  /// The server's process has ended: "normal", "delete" or "crash".
  std::function<void(const std::string& reason)> ended;
};

/// The process of a server: states, timers, callers and monitors round the rules. Source:
/// ra_server_proc.erl.
class BeamServer {
 public:
  struct Options {
    std::uint64_t await_condition_ms = 30'000;
  };
  BeamServer(BeamDisk& disk, BeamSeams seams, BeamWitness& witness, Options options);
  ~BeamServer();
  BeamServer(const BeamServer&) = delete;
  BeamServer& operator=(const BeamServer&) = delete;

  /// Enters its first state.
  void start();
  void on_call(std::string_view from, std::string_view request);
  void on_cast(std::string_view request);
  void on_down(std::uint64_t monitor, bool noconnection);
  void on_node_status(const std::string& node, bool up);
  void on_node_up(const std::string& node);
  void on_timer(const std::string& name);
  /// What the WAL tells.
  void on_written(const std::vector<BeamDisk::Written>& written);
  BeamRules& rules() { return *rules_; }
  bool ended() const { return ended_; }

 private:
  struct Held {
    std::string from;
    std::string request;
  };
  /// What gen_statem does next.
  struct Next {
    std::optional<beam::Event> event;
    std::optional<Held> call;
    bool is_tick = false;
  };
  using Queue = std::deque<Next>;
  class Transfer;

  // --- beam_server.cc
  void run(const std::function<void()>& what);
  void end(const std::string& reason);
  void process(beam::Event event);
  void drain(Queue queue);
  Queue step(const beam::Event& event);
  Queue step_tick();
  void after_terminating();
  void change_state(raft::Role before, Queue& next);
  void enter(raft::Role before);
  void carry_out(beam::Effects effects, raft::Role role, Queue& next);
  void carry_out(const beam::Send& send);
  void carry_out(const beam::RequestVotes& request);
  void carry_out(const beam::CommandReply& reply, raft::Role role);
  void carry_out(const beam::Notify& notify);
  void begin_transfer(const raft::ServerId& peer);
  void transfer_ended(const raft::ServerId& peer, bool in_order);
  void follow_leader(const std::optional<raft::ServerId>& before);
  void set_election_timer(raft::Role role);
  void set_election_timer(std::uint64_t milliseconds);
  void start_election_timer_long();
  bool answers_here(const beam::CommandReply& reply, raft::Role role) const;

  // --- beam_clients.cc
  void take_call(std::string_view from, std::string_view call);
  void take_cast(std::string_view cast);
  bool take_peer_call(std::string_view from, std::string_view term);
  void take_unknown(std::string_view from, std::string_view term);
  void take_command(std::string_view from, std::string_view term);
  void leader_takes_command(std::string_view from, const beam::Command& command, bool low);
  void other_takes_command(std::string_view from, std::string_view term,
                           const beam::Command& command, bool low);
  void flush_low_priority();
  void reject(std::string_view mode, const std::optional<raft::ServerId>& leader);
  void redirect_or_hold(std::string_view from, std::string_view call);
  void trigger_election(std::string_view from, std::string_view term);
  void query_state(std::string_view from, std::string_view what);
  void query_locally(std::string_view from, std::string_view query, raft::IndexTerm condition);
  void answer_pending_queries(raft::Role role);
  void answer_local_query(std::string_view from, std::string_view query, raft::Role role);
  bool write_query_result(std::string_view query, etf::Writer& out);
  void run_aux(std::string_view from, std::string_view command, bool wraps);
  void write_members_info(etf::Writer& out);

  BeamDisk& disk_;
  BeamSeams seams_;
  Options options_;
  std::unique_ptr<BeamRules> rules_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool ended_ = false;
  bool election_timer_set_ = false;
  std::optional<std::uint64_t> leader_monitor_;
  std::vector<Held> held_;       ///< pending_commands
  std::vector<Held> postponed_;  ///< by await_condition
  std::deque<beam::Command> low_priority_;
  struct PendingQuery {
    std::string from;
    std::string query;
    raft::IndexTerm condition;
  };
  std::vector<PendingQuery> pending_queries_;
};

/// What ra_kv:read_entry/4 gives of a member on the node that is asked.
std::string beam_read_entry(const BeamRules& rules, std::uint64_t index, std::string_view members);

/// `{'$gen_cast', _}` records between members, encoded.
std::string beam_record(const raft::ServerId& self, const beam::Message& message);

}  // namespace rakv::simulation
