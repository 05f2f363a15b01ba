// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/version.h"
#include "raft/system/server_system.h"
#include "raft/wire/ids.h"

// Remote functions by which tools look at a node and its ra system (docs/protocol/wire.md 5.6).

namespace rakv::system {
namespace {

struct SystemName {
  const char* key;
  const char* value;
};
constexpr SystemName kSystemNames[] = {
    {"wal", "ra_log_wal"},
    {"wal_sup", "ra_log_wal_sup"},
    {"log_sup", "ra_log_sup"},
    {"log_ets", "ra_log_ets"},
    {"log_meta", "ra_log_meta"},
    {"log_sync", "ra_log_sync"},
    {"open_mem_tbls", "ra_log_open_mem_tables"},
    {"segment_writer", "ra_log_segment_writer"},
    {"server_sup", "ra_server_sup_sup"},
    {"directory", "ra_directory"},
    {"directory_rev", "ra_directory_reverse"},
};

std::string ok() { return etf::Writer().atom("ok").take(); }
std::string undefined() { return etf::Writer().atom("undefined").take(); }

std::string atom_argument(const node::RpcCall& call, std::size_t position) {
  etf::Cursor cursor(call.argument(position));
  return cursor.kind() == etf::TermKind::atom ? std::string(cursor.atom().value_or(""))
                                              : std::string();
}

}  // namespace

// The same keys as ra_system:fetch/1 on a BEAM node; sizes and limits are this node's.
void ServerSystem::write_system_config(etf::Writer& writer) const {
  writer.map(28);
  writer.atom("name").atom("default");
  writer.atom("names").map(std::size(kSystemNames));
  for (const SystemName& name : kSystemNames) writer.atom(name.key).atom(name.value);
  writer.atom("data_dir").byte_list(log_system_.directory());
  writer.atom("wal_data_dir").byte_list(log_system_.directory());
  const auto number = [&](const char* key, std::int64_t value) { writer.atom(key).integer(value); };
  number("wal_max_size_bytes", static_cast<std::int64_t>(log_system_.options().wal.max_size_bytes));
  writer.atom("wal_compute_checksums").boolean(true);
  number("wal_max_batch_size", 8192);
  writer.atom("wal_max_entries").atom("undefined");
  writer.atom("wal_garbage_collect").boolean(false);
  writer.atom("wal_pre_allocate").boolean(false);
  writer.atom("wal_sync_method").atom("datasync");
  number("wal_min_heap_size", 233);
  number("wal_min_bin_vheap_size", 46422);
  number("segment_max_entries", 4096);
  number("segment_max_pending", 1024);
  number("segment_max_size_bytes", 64'000'000);
  writer.atom("segment_compute_checksums").boolean(true);
  number("default_max_pipeline_count", 4096);
  number("default_max_append_entries_rpc_batch_size", 128);
  writer.atom("message_queue_data").atom("off_heap");
  writer.atom("compress_mem_tables").boolean(false);
  number("snapshot_chunk_size", 1'000'000);
  number("server_min_bin_vheap_size", 46422);
  number("server_min_heap_size", 233);
  number("receive_snapshot_timeout", 30'000);
  number("low_priority_commands_flush_size", 16);
  number("low_priority_commands_in_memory_size", 16);
  writer.atom("machine_upgrade_strategy").atom("all");
}

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

void ServerSystem::add_system_functions() {
  node::RpcTable& functions = node_.functions();
  const auto constant = [&](std::string_view module, std::string_view function, std::size_t arity,
                            const std::string& term) {
    functions.add(module, function, arity, [term](node::RpcCall call) { call.answer(term); });
  };
  const auto written = [&](std::string_view module, std::string_view function, std::size_t arity,
                           std::function<void(etf::Writer&, const node::RpcCall&)> write) {
    functions.add(module, function, arity, [write = std::move(write)](node::RpcCall call) {
      etf::Writer reply;
      write(reply, call);
      call.answer(reply.view());
    });
  };

  // the node
  written("erlang", "whereis", 1, [this](etf::Writer& reply, const node::RpcCall& call) {
    if (const auto pid = node_.whereis(atom_argument(call, 0))) {
      reply.pid(*pid);
    } else {
      reply.atom("undefined");
    }
  });
  functions.add("erlang", "is_process_alive", 1, [this](node::RpcCall call) {
    etf::Cursor cursor(call.argument(0));
    const auto pid = cursor.kind() == etf::TermKind::pid ? cursor.pid_view() : std::nullopt;
    if (!pid || pid->node != node_.name()) return call.raise_badarg();
    call.answer(etf::Writer().boolean(node_.is_alive(*pid)).view());
  });
  functions.add("erlang", "exit", 2, [this](node::RpcCall call) {
    etf::Cursor cursor(call.argument(0));
    const auto pid = cursor.kind() == etf::TermKind::pid ? cursor.pid_view() : std::nullopt;
    if (!pid || pid->node != node_.name()) return call.raise_badarg();
    node_.send_exit(*pid, *pid, call.argument(1));
    call.answer(etf::Writer().boolean(true).view());
  });
  constant("net_kernel", "set_net_ticktime", 1, etf::Writer().atom("unchanged").take());
  constant("code", "add_paths", 1, ok());
  constant("logger", "set_primary_config", 2, ok());
  constant("logger", "set_primary_config", 1, ok());
  constant("application", "set_env", 3, ok());

  // the ra system
  written("ra_env", "data_dir", 0, [this](etf::Writer& reply, const node::RpcCall&) {
    reply.byte_list(log_system_.directory());
  });
  const auto system_config = [this](etf::Writer& reply, const node::RpcCall& call) {
    etf::Cursor cursor(call.argument(0));
    if (cursor.is_atom("default")) {
      write_system_config(reply);
    } else {
      reply.atom("undefined");
    }
  };
  written("ra_system", "fetch", 1, system_config);
  written("persistent_term", "get", 2, [this](etf::Writer& reply, const node::RpcCall& call) {
    etf::Cursor cursor(call.argument(0));
    if (cursor.kind() == etf::TermKind::tuple && cursor.tuple() == 2u &&
        cursor.is_atom("$ra_system") && cursor.is_atom("default")) {
      write_system_config(reply);
    } else {
      reply.raw(call.argument(1));
    }
  });
  written("ra_leaderboard", "lookup_leader", 1,
          [this](etf::Writer& reply, const node::RpcCall& call) {
            const auto row = leaderboard_.find(call.argument(0));
            if (row != leaderboard_.end() && row->second.leader) {
              wire::write_server_id(reply, *row->second.leader);
            } else {
              reply.atom("undefined");
            }
          });
  written("ra_leaderboard", "lookup_members", 1,
          [this](etf::Writer& reply, const node::RpcCall& call) {
            const auto row = leaderboard_.find(call.argument(0));
            if (row == leaderboard_.end()) {
              reply.atom("undefined");
              return;
            }
            reply.list(row->second.members.size());
            for (const raft::ServerId& id : row->second.members) wire::write_server_id(reply, id);
            reply.nil();
          });
  written("ra_directory", "overview", 1,
          [this](etf::Writer& reply, const node::RpcCall&) { write_directory_overview(reply); });
  written("ra_directory", "list_registered", 1, [this](etf::Writer& reply, const node::RpcCall&) {
    const std::vector<raftlog::MemberLog*> logs = log_system_.members();
    reply.list(logs.size());
    for (const raftlog::MemberLog* log : logs)
      reply.tuple(2).atom(log->config().id.name()).binary(log->uid());
    reply.nil();
  });
  functions.add("ra_log_wal", "force_roll_over", 1, [this](node::RpcCall call) {
    log_system_.roll_over_wal();
    call.answer(ok());
  });
  constant("ra_log_segment_writer", "await", 1, ok());
  written("ra_log_meta", "fetch", 3, [this](etf::Writer& reply, const node::RpcCall& call) {
    etf::Cursor uid_cursor(call.argument(1));
    const auto uid =
        uid_cursor.kind() == etf::TermKind::binary ? uid_cursor.binary() : std::nullopt;
    const raftlog::MemberLog* log = uid ? log_system_.find(std::string(*uid)) : nullptr;
    const std::string key = atom_argument(call, 2);
    if (log != nullptr && key == "current_term") {
      reply.u64(log->meta().term);
    } else if (log != nullptr && key == "voted_for" && log->meta().voted_for) {
      reply.tuple(2).atom(log->meta().voted_for->name()).atom(log->meta().voted_for->node());
    } else if (log != nullptr && key == "last_applied") {
      reply.u64(log->meta().last_applied);
    } else {
      reply.append(undefined());
    }
  });

  // snapshot transfer
  constant("ra_log_snapshot", "context", 0,
           etf::Writer().map(1).atom("can_accept_full_file").boolean(true).take());
  constant("ra_machine", "version", 1, etf::Writer().integer(0).take());
}

}  // namespace rakv::system
