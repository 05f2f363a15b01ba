// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/function_ref.h"
#include "cnode/base/memory_accounts.h"
#include "cnode/base/result.h"
#include "cnode/distribution/endpoint.h"
#include "cnode/distribution/outbox.h"
#include "cnode/etf/ids.h"
#include "cnode/node/failure_detector.h"
#include "cnode/node/process.h"
#include "cnode/node/rpc.h"

// This program as a node of an Erlang cluster: pids and names, messages, monitors, links, calls
// both ways, remote functions, beats. What a BEAM node does on its own (net_kernel's ping, global's
// greeting, noproc for what is not there) is answered here; everything else is somebody's Process
// or RpcFunction.
//
// Single-threaded: everything is called on, and calls back from, the io_context's thread. No
// callback comes from inside a call into the node.

namespace rakv::node {

/// How the node presents itself and how it treats its peers.
struct NodeOptions {
  std::string name;  ///< name@host
  std::string cookie;
  bool visible = true;  ///< false for short-lived command-line clients
  std::string listen_address = "0.0.0.0";
  std::uint16_t listen_port = 0;  ///< 0: any
  std::chrono::milliseconds net_ticktime{60000};
  std::size_t max_half_open = 256;         ///< see distribution::EndpointOptions
  std::size_t max_connections = SIZE_MAX;  ///< see distribution::EndpointOptions
  distribution::epmd::Options epmd;
  FailureDetectorOptions failure_detector;
  std::chrono::milliseconds redial_min{
      200};  ///< first pause before a kept connection is dialled again
  std::chrono::milliseconds redial_max{
      5000};  ///< longest pause; the pauses double and are jittered
  /// One line for the log: refused peers, failed handshakes, epmd lost and found. Optional.
  std::function<void(const std::string&)> on_note;
  /// What is held for peers is charged to these, which must outlive the node and the io_context.
  /// Null: it has no bound in bytes.
  MemoryAccounts* memory = nullptr;
};

/// What happens to connections, for those who care (Node::subscribe).
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  /// A node is connected, visible or hidden.
  virtual void on_node_up(const std::string& node) { static_cast<void>(node); }
  /// Its connection is gone. Monitors report noconnection before this.
  virtual void on_node_down(const std::string& node) { static_cast<void>(node); }
  /// Messages that may not block would be queued again, after one was not, or after Node::room()
  /// said so.
  virtual void on_node_writable(const std::string& node) { static_cast<void>(node); }
  /// The failure detector changed its mind about a node.
  virtual void on_node_status(const std::string& node, NodeStatus status) {
    static_cast<void>(node);
    static_cast<void>(status);
  }
};

/// Appends one encoded term to a message's text, or shares large parts of it.
using PayloadWriter = FunctionRef<void(distribution::OutMessage&)>;

/// What became of a message, as far as the sender can know.
enum class Delivery {
  queued,         ///< handed to the connection (or to the process on this node)
  would_block,    ///< the connection's queue is full: dropped (Erlang's nosuspend)
  not_connected,  ///< no connection: dropped (Erlang's noconnect)
};

/// How a call to a server on some node ended.
struct CallResult {
  enum class Status {
    reply,    ///< `term` is the reply
    down,     ///< `term` is the reason: noproc, noconnection, ...
    timeout,  ///< no answer in time: the outcome is unknown
  };
  Status status;
  std::string_view term;
};
using CallHandler = std::function<void(const CallResult&)>;

/// How a function applied on another node ended.
struct ApplyResult {
  enum class Status { returned, thrown, exited, raised, failed, timeout };
  Status status;
  std::string_view term;  ///< value, thrown term, exit reason, error reason, or why it failed
                          ///< (noconnection, notsup)
};
using ApplyHandler = std::function<void(const ApplyResult&)>;

class Node {
 public:
  Node(boost::asio::io_context& io, NodeOptions options);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Opens the listening socket and registers at epmd; `done` once. From then on pids can be made,
  /// but no peer is let in before accept_peers(). Errors: already_exists (name taken), unavailable
  /// (epmd), io (port).
  void start(std::function<void(Result<void>)> done);
  /// Answers peers from now on.
  void accept_peers();
  /// Ends all processes with `shutdown`, sends what is queued (for at most `patience`), closes
  /// everything.
  void stop(std::chrono::milliseconds patience, std::function<void()> done);

  const std::string& name() const;
  /// The clock of its io_context.
  Clock& clock() const;
  std::uint32_t creation() const;
  std::uint16_t port() const;

  // --- processes
  // ------------------------------------------------------------------------------------------------------

  /// Gives `process` a pid. It must outlive the pid.
  etf::Pid spawn(Process& process);
  /// The pid ends: names go, watchers and links are told `reason` (an encoded term).
  void terminate(const etf::Pid& pid, std::string_view reason);
  bool is_alive(const etf::PidView& pid) const;
  /// From now on `process` is who has this pid, with its names and watchers; it must outlive it.
  void hand_over(const etf::Pid& pid, Process& process);
  /// False when the name is taken.
  bool register_name(const std::string& name, const etf::Pid& pid);
  std::optional<etf::Pid> whereis(std::string_view name) const;
  etf::Reference make_reference();
  /// exit(Pid, Reason) for a pid of this node, as if it came from `from`.
  void send_exit(const etf::PidView& from, const etf::PidView& to, std::string_view reason);

  // --- messages
  // -------------------------------------------------------------------------------------------------------

  /// Sends to a pid anywhere. Never connects. `may_block` false drops the message when the queue is
  /// full.
  Delivery send(const etf::PidView& from, const etf::PidView& to, PayloadWriter payload,
                bool may_block = true);
  /// Sends to a registered name on `node` (this one included). Never connects.
  Delivery send_to_name(const etf::PidView& from, std::string_view node, std::string_view name,
                        PayloadWriter payload, bool may_block = true);
  /// During Process::on_message: the memory in which the message lies, if it is a large one from
  /// another node and `part` is a part of it; else nothing. It is the caller's alone to keep and to
  /// write to, and views into the message live as long as it does. So a large value is not copied
  /// on its way into the log.
  SharedBytes take_message(std::string_view part);
  /// `{'$gen_cast', Payload}` to a registered name.
  Delivery cast(const etf::PidView& from, std::string_view node, std::string_view name,
                PayloadWriter payload, bool may_block = true);
  /// What a message to `node` that may not block would come to now. After would_block,
  /// NodeObserver::on_node_writable follows.
  Delivery room(std::string_view node) const;
  /// Replies to an encoded `{Pid, Tag}`: `{Tag, Payload}` to the alias or the pid. A caller that is
  /// gone is no error.
  Delivery reply(const etf::PidView& from, std::string_view caller, PayloadWriter payload);

  /// Calls a server: monitors it, sends `{'$gen_call', From, Request}`, waits. Connects if
  /// necessary. The views of the result live during the handler.
  void call(std::string_view node, std::string_view name, PayloadWriter request,
            std::chrono::milliseconds timeout, CallHandler handler);
  /// Applies a function on `node` as erpc:call/5 does; `arguments` is an encoded list.
  void apply(std::string_view node, std::string_view module, std::string_view function,
             std::string_view arguments, std::chrono::milliseconds timeout, ApplyHandler handler);

  // --- monitors
  // -------------------------------------------------------------------------------------------------------

  /// Monitors a registered name for `watcher` (a pid of this node); its Process gets on_down once.
  /// Connects if necessary.
  etf::Reference monitor(const etf::Pid& watcher, std::string_view node, std::string_view name);
  void demonitor(const etf::Reference& reference);

  // --- nodes
  // ----------------------------------------------------------------------------------------------------------

  void subscribe(NodeObserver& observer);
  void unsubscribe(NodeObserver& observer);
  bool is_connected(std::string_view node) const;
  NodeStatus status(std::string_view node) const;
  /// Dials unless connected or under way; `done` (may be null) gets how it ended.
  void connect(const std::string& node, std::function<void(Result<void>)> done);
  void disconnect(const std::string& node);
  /// For tests: nothing passes to and from `node`, silently, until release_link() or for `time`.
  void hold_link(const std::string& node, std::chrono::milliseconds time);
  void release_link(const std::string& node);
  /// Dials `node` and, whenever the connection is lost, dials again, until release_connection() was
  /// called as often.
  void keep_connected(const std::string& node);
  void release_connection(const std::string& node);

  // --- memory
  // ---------------------------------------------------------------------------------------------------------

  /// NodeOptions::memory.
  MemoryAccounts* memory() const;
  /// For an account of memory(): one that charges nothing where there is none.
  ByteCharge charge(ByteAccount MemoryAccounts::*account, std::uint64_t bytes = 0) const;
  /// See distribution::PeerMemory::when_room(). Without memory() it is at once.
  void when_room(const std::string& peer, std::uint64_t bytes, distribution::PeerMemory::Room then);

  // --- remote functions
  // -----------------------------------------------------------------------------------------------

  /// The functions this node answers. Fill it before accept_peers().
  RpcTable& functions();
  /// Applies a function of functions() here, as if a peer had asked.
  void apply_locally(std::string_view module, std::string_view function, std::string_view arguments,
                     const RpcCall::Answer& answer);

 private:
  class Impl;  // node_impl.h
  std::unique_ptr<Impl> impl_;
};

}  // namespace rakv::node
