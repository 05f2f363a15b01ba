// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <random>
#include <set>
#include <unordered_map>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/base/randomness.h"
#include "cnode/distribution/control.h"
#include "cnode/distribution/epmd.h"
#include "cnode/etf/writer.h"
#include "cnode/node/node.h"
#include "cnode/node/peer_charge.h"

// The inside of Node, shared by its sources: node.cc (life, processes), messages.cc (outgoing),
// signals.cc (incoming), calls.cc (our calls and applies), peers.cc (connections, beats),
// node_functions.cc (remote functions about the node itself).

namespace rakv::node {

/// Hashes and compares owned and borrowed references alike.
struct ReferenceHash {
  using is_transparent = void;
  std::size_t operator()(const etf::ReferenceView& value) const { return etf::hash_value(value); }
  std::size_t operator()(const etf::Reference& value) const {
    return etf::hash_value(value.view());
  }
};
struct ReferenceEqual {
  using is_transparent = void;
  static etf::ReferenceView view(const etf::Reference& value) { return value.view(); }
  static etf::ReferenceView view(const etf::ReferenceView& value) { return value; }
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return view(a) == view(b);
  }
};

/// What is counted for a monitor, a link and a remote call of another node's process, besides the
/// call's arguments: entries of tables, and the names in them.
inline constexpr std::uint64_t kWatchBytes = 448;
inline constexpr std::uint64_t kLinkBytes = 128;
inline constexpr std::uint64_t kWorkerBytes = 768;
/// What another node's process is told when there is no room for its monitor, link or call.
inline constexpr std::string_view kNoRoom = "system_limit";

/// What `payload` writes, as one string.
std::string rendered(PayloadWriter payload);

class Node::Impl : private Process {
 public:
  Impl(boost::asio::io_context& io, NodeOptions options);
  ~Impl() override;

  // node.cc
  void start(std::function<void(Result<void>)> done);
  void stop(std::chrono::milliseconds patience, std::function<void()> done);
  etf::Pid spawn(Process* process);
  void terminate(std::uint64_t entity, std::string_view reason);
  void terminate_with(std::uint64_t entity, PayloadWriter reason);
  std::uint64_t entity_of(const etf::PidView& pid) const;  ///< 0 when not of this incarnation
  etf::Pid pid_of(std::uint64_t entity) const;
  etf::Reference make_reference();
  bool is_own(std::string_view node) const { return node == options_.name; }
  void deliver_later(std::uint64_t entity, std::string message);
  /// `by_link`: a linked process ended; else erlang:exit/2.
  void send_exit(const etf::PidView& from, std::uint64_t entity, std::string_view reason,
                 bool by_link);

  // messages.cc
  Delivery send(const etf::PidView& from, const etf::PidView& to, PayloadWriter payload,
                bool may_block);
  Delivery send_to_name(const etf::PidView& from, std::string_view node, std::string_view name,
                        PayloadWriter payload, bool may_block);
  Delivery reply(const etf::PidView& from, std::string_view caller, PayloadWriter payload);
  /// `{error, {What, Request}}` to a caller whose request `entity` does not know.
  void refuse(std::uint64_t entity, std::string_view caller, std::string_view what,
              std::string_view request);
  /// Refuses one of OTP's system messages (sys.erl), which would else never be answered.
  void refuse_system_message(std::uint64_t entity, std::string_view message);
  Delivery transmit(distribution::Connection& connection, const etf::PidView& from,
                    distribution::OutMessage message, bool may_block);
  /// A signal without payload, or with it already appended; lost when there is no connection.
  void signal(std::string_view node, const etf::PidView& from, distribution::OutMessage message);

  // signals.cc
  void on_connection_message(const std::shared_ptr<distribution::Connection>& connection,
                             const distribution::ControlMessage& control, std::string_view payload);
  void handle(distribution::Connection& peer, const distribution::MessageSignal& signal,
              std::string_view payload);
  void handle(distribution::Connection& peer, const distribution::LinkSignal& signal);
  void handle(distribution::Connection& peer, const distribution::UnlinkSignal& signal);
  void handle(distribution::Connection& peer, const distribution::LinkExitSignal& signal);
  void handle(const distribution::ExitSignal& signal);
  void handle(distribution::Connection& peer, const distribution::MonitorSignal& signal);
  void handle(distribution::Connection& peer, const distribution::DemonitorSignal& signal);
  void handle(const distribution::MonitorExitSignal& signal);
  void handle(distribution::Connection& peer, const distribution::SpawnRequestSignal& signal,
              std::string_view arguments);
  void handle(const distribution::SpawnReplySignal& signal);
  void run_spawned(std::uint64_t worker, const std::string& caller_node, std::string_view module,
                   std::string_view function, std::string_view arguments);
  void run_erpc(std::uint64_t worker, const std::string& caller_node,
                const std::vector<std::string_view>& elements);
  void end_worker(std::uint64_t worker, PayloadWriter reason);
  void give_up_worker(std::uint64_t worker, std::string_view reason);

  // calls.cc
  void call(std::string_view node, std::string_view name, PayloadWriter request,
            std::chrono::milliseconds timeout, CallHandler handler);
  void apply(std::string_view node, std::string_view module, std::string_view function,
             std::string_view arguments, std::chrono::milliseconds timeout, ApplyHandler handler);
  void send_apply(std::uint64_t number, std::string_view module, std::string_view function,
                  std::string_view arguments);
  void apply_locally(std::string_view caller, std::string_view module, std::string_view function,
                     std::string_view arguments, const RpcCall::Answer& answer);
  etf::Reference monitor(std::uint64_t watcher, std::string_view node, std::string_view name);
  void demonitor(const etf::Reference& reference);
  void fire_own_monitor(const etf::ReferenceView& reference, std::string_view reason);

  // node_functions.cc
  void add_node_functions();
  void write_memory(etf::Writer& writer) const;

  // peers.cc
  void on_up(const std::shared_ptr<distribution::Connection>& made);
  void on_closed(const std::string& node, const distribution::Connection* connection,
                 const Error& reason);
  std::shared_ptr<distribution::Connection> connection(std::string_view node) const;
  void connect(const std::string& node, std::function<void(Result<void>)> done);
  void keep_connected(const std::string& node);
  void release_connection(const std::string& node);
  void redial(const std::string& node);
  void dial_kept(const std::string& node);
  void beat();
  void poll_detector();
  void notify(FunctionRef<void(NodeObserver&)> tell);

  // --- Node's own data ---

  boost::asio::io_context& io_;
  NodeOptions options_;
  std::shared_ptr<distribution::PeerMemory> peer_memory_;  ///< null without NodeOptions::memory
  std::unique_ptr<distribution::Endpoint> endpoint_;
  distribution::epmd::Registrar registrar_;
  std::uint32_t creation_ = 0;
  std::uint16_t port_ = 0;
  RpcTable functions_;
  FailureDetector detector_;
  std::vector<NodeObserver*> observers_;           ///< in the order in which they are told
  distribution::Connection* receiving_ = nullptr;  ///< whose message a process is handling

  // --- what lives here ---

  struct Entity {
    Process* process = nullptr;  ///< null: a worker that carries out a remote call
    std::set<std::string> names;
    std::vector<etf::Pid> links;
    std::size_t watch_count = 0;  ///< entries of watches_ for it
    ByteCharge link_charge{};
    PeerCharge charge{};  ///< of a worker
    // workers only: whom to tell the result, until a DEMONITOR takes it back
    std::optional<etf::Reference> spawn_reference;
    std::optional<etf::Pid> spawned_by;
    bool spawned_with_monitor = false;
  };
  struct Watch {
    etf::Pid watcher;
    std::optional<std::string> name;  ///< set when monitored by name
    std::uint64_t entity = 0;
    PeerCharge charge{};  ///< for one of another node
  };
  /// An empty charge to MemoryAccounts::watches for what `node` has here.
  PeerCharge watch_charge(std::string_view node);
  bool has_room_for_link() const;
  void add_link(Entity& entity, const etf::PidView& from);
  PeerCharges watch_charges_;
  /// Of workers that were ended before their calls were answered, until they are.
  std::unordered_map<std::uint64_t, PeerCharge> given_up_;
  /// Ids are never used again within one incarnation.
  std::unordered_map<std::uint64_t, Entity> entities_;
  std::map<std::string, std::uint64_t, std::less<>> names_;
  boost::unordered_flat_map<etf::Reference, Watch, ReferenceHash, ReferenceEqual> watches_;
  std::uint64_t next_entity_ = 1;
  std::uint64_t next_reference_ = 1;

  // --- what we wait for ---

  struct OwnMonitor {
    std::uint64_t watcher = 0;
    std::string node;
    std::string name;
    bool sent = false;  ///< the peer knows of it
  };
  struct PendingCall {
    std::string node;
    std::string name;
    CallHandler on_reply;    ///< a call
    ApplyHandler on_result;  ///< an apply
    std::unique_ptr<Timer> timer;
    bool sent = false;
  };
  using PendingCalls = std::unordered_map<std::uint64_t, PendingCall>;
  /// The number of a reference made here, 0 for another node's or incarnation's.
  std::uint64_t number_of(const etf::ReferenceView& reference) const;
  etf::Reference reference_of(std::uint64_t number) const;
  void start_timer(std::uint64_t number, std::chrono::milliseconds timeout);
  void finish_call(std::uint64_t number, CallResult::Status status, std::string_view term);
  void finish_apply(PendingCall pending, ApplyResult::Status status, std::string_view term);
  void on_message(std::string_view message) override;  ///< replies to our calls
  void forget_on_peer(std::uint64_t number, const PendingCall& pending);

  std::unordered_map<std::uint64_t, OwnMonitor> monitors_;
  PendingCalls calls_;
  std::uint64_t caller_ = 0;  ///< the entity our own calls come from

  // --- well-known names every node has ---
  class Rex;
  class Builtins;
  std::unique_ptr<Builtins> builtins_;

  // --- connections ---
  struct Kept {
    std::size_t users = 0;
    std::chrono::milliseconds pause;
    std::unique_ptr<Timer> timer;
    std::string failure{};  ///< of the last dial, which was noted
  };
  std::map<std::string, Kept, std::less<>> kept_;
  Timer beat_timer_;
  Timer poll_timer_;
  std::mt19937_64 random_;
  bool stopping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rakv::node
