// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kv/client.h"
#include "raft/system/server_system.h"

namespace rakv::kv {

/// The client functions that other nodes use on this one by rpc, as they would on any node that has
/// ra's code (ra_kv.erl, ra.erl). None waits for longer than 60 s, whatever the caller allows:
///  - ra_kv:get/3: {ok, Meta, Value}, {error, not_found}, {timeout, ServerId} or {error, Text}; the
///    value is read here when a server of this node has applied it, else at the leader;
///  - ra:aux_command/2: what the server answers; exits as gen_statem:call/2 does;
///  - ra:trigger_compaction/1: a cast, ok;
///  - application:which_applications/0: ra and rakv, by which they see that this node has ra.
class ClientService {
 public:
  ClientService(boost::asio::io_context& io, system::ServerSystem& system);

  /// Makes this node answer them. Before Node::accept_peers(); the object must outlive the node's
  /// work.
  void add_functions();

  /// What ra_kv:get/3 does.
  void get(const raft::ServerId& server, std::string_view key, std::chrono::milliseconds timeout,
           Client::Handler<StoredValue> handler);

 private:
  /// Whom casts come from; nobody answers.
  class Caller : public node::Process {
   public:
    void on_message(std::string_view) override {}
  };

  void answer_get(node::RpcCall call);
  void answer_aux_command(node::RpcCall call);
  void answer_trigger_compaction(node::RpcCall call);
  raft::ServerId reader(std::uint64_t index, const raft::ServerId& leader);

  boost::asio::io_context& io_;
  system::ServerSystem& system_;
  Caller caller_;
  etf::Pid caller_pid_;
};

}  // namespace rakv::kv
