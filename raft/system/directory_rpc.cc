// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/version.h"
#include "raft/system/rpc_answers.h"
#include "raft/system/server_system.h"
#include "raft/wire/ids.h"

// Remote functions that tell which servers are registered, and who leads (ra_directory.erl,
// ra_leaderboard.erl).

namespace rakv::system {

void ServerSystem::write_directory_row(etf::Writer& writer, const std::string& name,
                                       const raftlog::MemberLog& log) {
  const member::Member* running = find(name);
  writer.map(7);
  writer.atom("uid").binary(log.uid());
  const auto pid = last_pids_.find(name);
  const auto write_pid = [&] {
    if (pid != last_pids_.end()) {
      writer.pid(pid->second);
    } else {
      writer.atom("undefined");
    }
  };
  writer.atom("pid");
  write_pid();
  writer.atom("parent");
  write_pid();
  writer.atom("state").atom(running != nullptr ? to_string(running->role()) : "undefined");
  writer.atom("membership")
      .atom(running != nullptr ? to_string(running->core().membership()) : "undefined");
  writer.atom("cluster_name").raw(etf::without_version(log.config().cluster_name));
  writer.atom("snapshot_state").tuple(3);
  if (!log.snapshot()) {
    writer.integer(-1).integer(0).nil();
    return;
  }
  const raftlog::IndexSet& live = log.snapshot()->live_indexes;
  writer.u64(log.snapshot()->meta.index);
  writer.u64(live.empty() ? log.snapshot()->meta.index + 1 : live.ranges().front().first);
  writer.raw(etf::without_version(live.encode()));
}

void ServerSystem::write_directory_overview(etf::Writer& writer) {
  const std::vector<raftlog::MemberLog*> logs = log_system_.members();
  writer.map(logs.size());
  for (const raftlog::MemberLog* log : logs) {
    writer.atom(log->config().id.name());
    write_directory_row(writer, log->config().id.name(), *log);
  }
}

// What ra_directory says without changing anything.
void ServerSystem::add_directory_functions() {
  node::RpcTable& functions = node_.functions();
  add_written(
      functions, "ra_directory", "overview", 1,
      [this](etf::Writer& reply, const node::RpcCall&) { write_directory_overview(reply); });
  add_written(functions, "ra_directory", "list_registered", 1,
              [this](etf::Writer& reply, const node::RpcCall&) {
                const std::vector<raftlog::MemberLog*> logs = log_system_.members();
                reply.list(logs.size());
                for (const raftlog::MemberLog* log : logs)
                  reply.tuple(2).atom(log->config().id.name()).binary(log->uid());
                reply.nil();
              });
  const auto add = [&](std::string_view function,
                       std::function<void(etf::Writer&, std::string_view)> write) {
    functions.add("ra_directory", function, 2, [write = std::move(write)](node::RpcCall call) {
      etf::Writer reply;
      write(reply, call.argument(1));
      call.answer(reply.view());
    });
  };
  const auto write_pid = [this](etf::Writer& reply, const raftlog::MemberLog* log) {
    const auto running = log != nullptr ? pid_of(log->config().id.name()) : std::nullopt;
    if (running) {
      reply.pid(*running);
    } else {
      reply.atom("undefined");
    }
  };
  const auto pid_of = [this, write_pid](etf::Writer& reply, std::string_view key) {
    write_pid(reply, registered(key));
  };
  add("where_is", pid_of);
  add("where_is_parent", pid_of);
  add("pid_of", pid_of);
  add("uid_of", [this](etf::Writer& reply, std::string_view key) {
    const raftlog::MemberLog* log = registered(key);
    if (log != nullptr) {
      reply.binary(log->uid());
    } else {
      reply.atom("undefined");
    }
  });
  add("name_of", [this](etf::Writer& reply, std::string_view key) {
    const raftlog::MemberLog* log = registered(key);
    reply.atom(log != nullptr ? log->config().id.name() : "undefined");
  });
  add("cluster_name_of", [this](etf::Writer& reply, std::string_view key) {
    const raftlog::MemberLog* log = registered(key);
    if (log != nullptr) {
      reply.raw(etf::without_version(log->config().cluster_name));
    } else {
      reply.atom("undefined");
    }
  });
  add("is_registered_uid", [this](etf::Writer& reply, std::string_view key) {
    reply.boolean(registered(key) != nullptr);
  });
}

/// A registered server by its uid, its name, or `{Name, Node}`.
const raftlog::MemberLog* ServerSystem::registered(std::string_view key) {
  etf::Cursor cursor(key);
  if (cursor.kind() == etf::TermKind::binary)
    return log_system_.find(std::string(cursor.binary().value_or("")));
  if (cursor.kind() == etf::TermKind::tuple) {
    const auto server = wire::read_server_id(cursor);
    return server ? log_system_.find_by_name(server->name()) : nullptr;
  }
  return log_system_.find_by_name(atom_of(key));
}

void ServerSystem::add_leaderboard_functions() {
  node::RpcTable& functions = node_.functions();
  add_written(functions, "ra_leaderboard", "lookup_leader", 1,
              [this](etf::Writer& reply, const node::RpcCall& call) {
                const auto row = leaderboard_.find(call.argument(0));
                if (row != leaderboard_.end() && row->second.leader) {
                  wire::write_server_id(reply, *row->second.leader);
                } else {
                  reply.atom("undefined");
                }
              });
  add_written(functions, "ra_leaderboard", "lookup_members", 1,
              [this](etf::Writer& reply, const node::RpcCall& call) {
                const auto row = leaderboard_.find(call.argument(0));
                if (row == leaderboard_.end()) {
                  reply.atom("undefined");
                  return;
                }
                reply.list(row->second.members.size());
                for (const raft::ServerId& id : row->second.members)
                  wire::write_server_id(reply, id);
                reply.nil();
              });
  add_written(functions, "ra_leaderboard", "overview", 0,
              [this](etf::Writer& reply, const node::RpcCall&) {
                reply.list(leaderboard_.size());
                for (const auto& [cluster, row] : leaderboard_) {
                  reply.tuple(3).raw(cluster);
                  if (row.leader) {
                    wire::write_server_id(reply, *row.leader);
                  } else {
                    reply.atom("undefined");
                  }
                  reply.list(row.members.size());
                  for (const raft::ServerId& id : row.members) wire::write_server_id(reply, id);
                  reply.nil();
                }
                reply.nil();
              });
}

}  // namespace rakv::system
