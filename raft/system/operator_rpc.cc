// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "raft/system/rpc_answers.h"
#include "raft/system/server_system.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/ids.h"

// Remote functions for those who look at a node or stop it.

namespace rakv::system {
namespace {

constexpr std::chrono::milliseconds kMembersTimeout{5000};
constexpr int kRedirectsMax = 8;

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// The keys of a BEAM's answer; all memory here is `system`.
void write_memory(etf::Writer& writer) {
  const std::uint64_t bytes = resident_bytes();
  constexpr const char* kKeys[] = {"total",     "processes", "processes_used", "system", "atom",
                                   "atom_used", "binary",    "code",           "ets"};
  writer.list(std::size(kKeys));
  for (const std::string_view key : kKeys) {
    writer.tuple(2).atom(key).u64(key == "total" || key == "system" ? bytes : 0);
  }
  writer.nil();
}

}  // namespace

/// Follows redirects to the leader, as ra_server_proc:leader_call/3 does.
void ServerSystem::ask_members(std::shared_ptr<node::RpcCall> call, const raft::ServerId& server,
                               std::chrono::milliseconds timeout, int redirects) {
  node_.call(
      server.node(), server.name(),
      [](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        wire::write_leader_call(writer);
        wire::write_state_query(writer, "members");
      },
      timeout,
      [this, call = std::move(call), server, timeout, redirects,
       alive = alive_](const node::CallResult& result) {
        if (!*alive) return;
        etf::Writer reply;
        if (result.status == node::CallResult::Status::timeout) {
          wire::write_server_id(reply.tuple(2).atom("timeout"), server);
          return call->answer(reply.view());
        }
        if (result.status == node::CallResult::Status::down) {
          etf::Cursor reason(result.term);
          reply.tuple(2).atom("error");
          if (reason.is_atom("noconnection")) {
            reply.atom("nodedown");
          } else {
            reply.raw(result.term);
          }
          return call->answer(reply.view());
        }
        const std::optional<raft::ServerId> leader = wire::read_redirect(result.term);
        if (leader && redirects > 0) return ask_members(call, *leader, timeout, redirects - 1);
        call->answer(result.term);
      });
}

void ServerSystem::members_rpc(node::RpcCall call) {
  etf::Cursor cursor(call.argument(0));
  const auto server =
      cursor.kind() == etf::TermKind::tuple ? wire::read_server_id(cursor) : std::nullopt;
  if (!server) return call.raise_badarg();
  std::chrono::milliseconds timeout = kMembersTimeout;
  if (call.arguments().size() == 2) {
    etf::Cursor given(call.argument(1));
    const auto ms =
        given.kind() == etf::TermKind::integer ? given.u64() : std::optional<std::uint64_t>();
    // What waits here takes memory, also when the caller has gone meanwhile.
    constexpr std::uint64_t kLongest = 60'000;
    if (!ms) return call.raise_badarg();
    timeout = std::chrono::milliseconds(std::min(*ms, kLongest));
  }
  ask_members(std::make_shared<node::RpcCall>(std::move(call)), *server, timeout, kRedirectsMax);
}

/// ra:overview/1.
void ServerSystem::overview_rpc(node::RpcCall call) {
  etf::Writer reply;
  if (!etf::Cursor(call.argument(0)).is_atom("default"))
    return call.answer(reply.atom("system_not_started").view());
  std::uint64_t in_memory = 0;
  for (const raftlog::MemberLog* log : log_system_.members())
    in_memory += log->memory_entries() > 0;
  reply.map(5);
  reply.atom("node").atom(node_.name());
  reply.atom("servers");
  write_directory_overview(reply);
  reply.atom("counters");
  write_counters_overview(reply);
  reply.atom("wal").map(2);
  reply.atom("status").atom(wal_is_down_ ? "down" : "running");
  reply.atom("open_mem_tables").u64(in_memory);
  reply.atom("segment_writer").map(0);
  call.answer(reply.view());
}

void ServerSystem::system_info_rpc(node::RpcCall call) {
  const unsigned processors = std::max(1u, std::thread::hardware_concurrency());
  const std::string item = atom_of(call.argument(0));
  etf::Writer reply;
  if (item == "wordsize") {
    reply.integer(sizeof(void*));
  } else if (item == "schedulers" || item == "schedulers_online") {
    reply.integer(1);  // one thread owns the members
  } else if (item == "logical_processors" || item == "logical_processors_online" ||
             item == "logical_processors_available") {
    reply.integer(processors);
  } else if (item == "process_count") {
    reply.u64(members_.size());
  } else if (item == "creation") {
    reply.u64(node_.creation());
  } else if (item == "machine") {
    reply.byte_list("rakv");
  } else if (item == "endian") {
    reply.atom(std::endian::native == std::endian::little ? "little" : "big");
  } else {
    return call.raise_badarg();
  }
  call.answer(reply.view());
}

void ServerSystem::add_operator_functions() {
  node::RpcTable& functions = node_.functions();
  const auto add = [&](std::string_view module, std::string_view function, std::size_t arity,
                       void (ServerSystem::*procedure)(node::RpcCall)) {
    functions.add(module, function, arity,
                  [this, procedure](node::RpcCall call) { (this->*procedure)(std::move(call)); });
  };
  add("ra", "overview", 1, &ServerSystem::overview_rpc);
  add("ra", "members", 1, &ServerSystem::members_rpc);
  add("ra", "members", 2, &ServerSystem::members_rpc);
  add("erlang", "system_info", 1, &ServerSystem::system_info_rpc);
  functions.add("ra_env", "server_data_dir", 2, [this](node::RpcCall call) {
    etf::Cursor cursor(call.argument(1));
    const auto uid = cursor.kind() == etf::TermKind::binary ? cursor.binary()
                                                            : std::optional<std::string_view>();
    if (!etf::Cursor(call.argument(0)).is_atom("default") || !uid) return call.raise_badarg();
    etf::Writer reply;
    reply.byte_list(log_system_.directory() + "/" + std::string(*uid));
    call.answer(reply.view());
  });
  functions.add("erlang", "memory", 0, [](node::RpcCall call) {
    etf::Writer reply;
    write_memory(reply);
    call.answer(reply.view());
  });
  // The program ends in order at SIGTERM.
  functions.add("init", "stop", 0, [](node::RpcCall call) {
    call.answer(etf::Writer().atom("ok").view());
    ::kill(::getpid(), SIGTERM);
  });
}

}  // namespace rakv::system
