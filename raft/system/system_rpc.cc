// SPDX-License-Identifier: Apache-2.0
#include "raft/system/rpc_answers.h"
#include "raft/system/server_system.h"

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

void ServerSystem::add_system_functions() {
  add_node_functions();
  add_config_functions();
  add_log_functions();
  add_directory_functions();
  add_leaderboard_functions();
}

void ServerSystem::add_node_functions() {
  node::RpcTable& functions = node_.functions();
  add_written(functions, "erlang", "whereis", 1,
              [this](etf::Writer& reply, const node::RpcCall& call) {
                if (const auto pid = node_.whereis(atom_of(call.argument(0)))) {
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
  add_constant(functions, "net_kernel", "set_net_ticktime", 1,
               etf::Writer().atom("unchanged").take());
  add_constant(functions, "code", "add_paths", 1, ok());
  add_constant(functions, "logger", "set_primary_config", 2, ok());
  add_constant(functions, "logger", "set_primary_config", 1, ok());
  add_constant(functions, "application", "set_env", 3, ok());
}

void ServerSystem::add_config_functions() {
  node::RpcTable& functions = node_.functions();
  add_written(functions, "ra_env", "data_dir", 0, [this](etf::Writer& reply, const node::RpcCall&) {
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
  add_written(functions, "ra_system", "fetch", 1, system_config);
  add_written(functions, "persistent_term", "get", 2,
              [this](etf::Writer& reply, const node::RpcCall& call) {
                etf::Cursor cursor(call.argument(0));
                if (cursor.kind() == etf::TermKind::tuple && cursor.tuple() == 2u &&
                    cursor.is_atom("$ra_system") && cursor.is_atom("default")) {
                  write_system_config(reply);
                } else {
                  reply.raw(call.argument(1));
                }
              });
}

void ServerSystem::add_log_functions() {
  node::RpcTable& functions = node_.functions();
  functions.add("ra_log_wal", "force_roll_over", 1, [this](node::RpcCall call) {
    log_system_.roll_over_wal();
    call.answer(ok());
  });
  add_constant(functions, "ra_log_segment_writer", "await", 1, ok());
  add_written(
      functions, "ra_log_meta", "fetch", 3, [this](etf::Writer& reply, const node::RpcCall& call) {
        etf::Cursor uid_cursor(call.argument(1));
        const auto uid =
            uid_cursor.kind() == etf::TermKind::binary ? uid_cursor.binary() : std::nullopt;
        const raftlog::MemberLog* log = uid ? log_system_.find(std::string(*uid)) : nullptr;
        const std::string key = atom_of(call.argument(2));
        if (log != nullptr && key == "current_term") {
          reply.u64(log->meta().term);
        } else if (log != nullptr && key == "voted_for" && log->meta().voted_for) {
          reply.tuple(2).atom(log->meta().voted_for->name()).atom(log->meta().voted_for->node());
        } else if (log != nullptr && key == "last_applied") {
          reply.u64(log->meta().last_applied);
        } else {
          reply.atom("undefined");
        }
      });
  add_constant(functions, "ra_log_snapshot", "context", 0,
               etf::Writer().map(1).atom("can_accept_full_file").boolean(true).take());
  add_constant(functions, "ra_machine", "version", 1, etf::Writer().integer(0).take());
}

}  // namespace rakv::system
