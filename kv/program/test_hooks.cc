// SPDX-License-Identifier: Apache-2.0
#include "kv/program/test_hooks.h"

#include <memory>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::kv {
namespace {

/// ra_kv_harness heals a partition only when it next draws one, and ends its run on a get that
/// takes 30 s.
constexpr std::chrono::milliseconds kBlockTime{10'000};

// ra_kv_harness.erl: read_all_keys/0
constexpr char kCluster[] = "kv";
constexpr int kMaxKey = 10'000;
constexpr std::chrono::milliseconds kReadTimeout{1000};

std::string ok() { return etf::Writer().atom("ok").take(); }

std::string node_argument(const node::RpcCall& call) {
  etf::Cursor cursor(call.argument(0));
  return cursor.kind() == etf::TermKind::atom ? std::string(cursor.atom().value_or("")) : "";
}

}  // namespace

/// One ra_kv_harness:read_all_keys/0.
struct TestHooks::ReadAll {
  node::RpcCall call;
  int key;
};

TestHooks::TestHooks(system::ServerSystem& system, raftlog::LogSystem& log_system,
                     ClientService& client)
    : system_(system), node_(system.node()), log_system_(log_system), client_(client), wal_(*this) {
  add_exceptions();
  add_suspension();
  add_harness_functions();
  register_wal();
}

void TestHooks::add_exceptions() {
  node::RpcTable& functions = node_.functions();
  functions.add("erlang", "throw", 1,
                [](node::RpcCall call) { call.throw_term(std::string(call.argument(0))); });
  functions.add("erlang", "exit", 1,
                [](node::RpcCall call) { call.exit(std::string(call.argument(0))); });
  functions.add("erlang", "error", 1,
                [](node::RpcCall call) { call.raise(std::string(call.argument(0))); });
  functions.add("net_kernel", "connect_node", 1, [this](node::RpcCall call) {
    const std::string peer = node_argument(call);
    if (peer.empty()) return call.raise_badarg();
    auto waiting = std::make_shared<node::RpcCall>(std::move(call));
    node_.connect(peer, [waiting](const Result<void>& connected) {
      waiting->answer(etf::Writer().boolean(connected.has_value()).view());
    });
  });
}

void TestHooks::add_suspension() {
  for (const bool suspend : {true, false}) {
    node_.functions().add("sys", suspend ? "suspend" : "resume", 1,
                          [this, suspend](node::RpcCall call) {
                            if (!etf::Cursor(call.argument(0)).is_atom("ra_log_wal"))
                              return call.raise_badarg();
                            log_system_.suspend_wal(suspend);
                            call.answer(ok());
                          });
  }
}

void TestHooks::add_harness_functions() {
  node::RpcTable& functions = node_.functions();
  functions.add("application", "stop", 1, [](node::RpcCall call) { call.answer(ok()); });
  functions.add("ra", "start_in", 1, [](node::RpcCall call) {
    call.answer(etf::Writer().tuple(2).atom("ok").nil().view());
  });
  functions.add("ra", "stop_server", 2, [this](node::RpcCall call) {
    etf::Cursor cursor(call.argument(1));
    const auto server =
        cursor.kind() == etf::TermKind::tuple ? wire::read_server_id(cursor) : std::nullopt;
    if (!server || server->node() != node_.name()) return call.raise_badarg();
    system_.stop_server(server->name());
    call.answer(ok());
  });
  functions.add("inet_tcp_proxy_dist", "block", 1, [this](node::RpcCall call) {
    const std::string peer = node_argument(call);
    if (peer.empty()) return call.raise_badarg();
    node_.hold_link(peer, kBlockTime);
    call.answer(ok());
  });
  functions.add("inet_tcp_proxy_dist", "allow", 1, [this](node::RpcCall call) {
    const std::string peer = node_argument(call);
    if (peer.empty()) return call.raise_badarg();
    node_.release_link(peer);
    call.answer(ok());
  });
  functions.add("ra_kv_harness", "read_all_keys", 0, [this](node::RpcCall call) {
    read_next(std::make_shared<ReadAll>(ReadAll{std::move(call), 1}));
  });
}

void TestHooks::register_wal() {
  wal_pid_ = node_.spawn(wal_);
  node_.register_name("ra_log_wal", wal_pid_);
}

void TestHooks::WalProcess::on_exit_signal(const etf::PidView&, std::string_view reason) {
  etf::Cursor cursor(reason);
  if (cursor.is_atom("normal")) return;
  hooks_.log_system_.fail_wal();
  hooks_.log_system_.retry_wal();
  hooks_.node_.terminate(hooks_.wal_pid_, etf::Writer().atom("killed").view());
  hooks_.register_wal();
}

/// Reads one key after the other and takes no notice of how that goes.
void TestHooks::read_next(const std::shared_ptr<ReadAll>& reading) {
  if (reading->key > kMaxKey) return reading->call.answer(ok());
  const std::string key = etf::Writer().binary("key_" + std::to_string(reading->key++)).take();
  client_.get(raft::ServerId(kCluster, node_.name()), key, kReadTimeout,
              [this, reading](const Result<StoredValue>&) { read_next(reading); });
}

}  // namespace rakv::kv
