// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "cnode/etf/map_pairs.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "raft/member/overview.h"
#include "raft/member/server_config_term.h"
#include "raft/system/rpc_answers.h"
#include "raft/system/server_system.h"
#include "raft/wire/ids.h"

// The remote procedures that start, stop, delete and measure servers (ra_server_sup_sup.erl, ra.erl
// key_metrics, ra_counters.erl; docs/protocol/wire.md 5.2 to 5.5).

namespace rakv::system {
namespace {

bool is_default_system(std::string_view term) {
  etf::Cursor cursor(term);
  return cursor.is_atom("default");
}

void answer_error(node::RpcCall& call, std::string_view reason_atom) {
  call.answer(etf::Writer().tuple(2).atom("error").atom(reason_atom).view());
}

void answer_pid(node::RpcCall& call, const member::Member& member) {
  call.answer(etf::Writer().tuple(2).atom("ok").pid(member.pid()).view());
}

void answer_already_started(node::RpcCall& call, const etf::Pid& pid) {
  call.answer(
      etf::Writer().tuple(2).atom("error").tuple(2).atom("already_started").pid(pid).view());
}

/// `{error, {shutdown, {failed_to_start_child, Name, Reason}}}`, as a supervisor says it.
std::string child_failure(const std::string& name, std::string_view reason) {
  etf::Writer writer;
  writer.tuple(2).atom("error").tuple(2).atom("shutdown").tuple(3).atom("failed_to_start_child");
  return writer.atom(name).raw(reason).take();
}

std::string reason_term(const Error& error) {
  const char* kind = error.code == ErrorCode::unsupported        ? "unsupported"
                     : error.code == ErrorCode::invalid_argument ? "bad_config"
                                                                 : "start_failed";
  return etf::Writer().tuple(2).atom(kind).binary(error.message).take();
}

std::optional<raft::ServerId> server_id(std::string_view term) {
  etf::Cursor cursor(term);
  if (cursor.kind() != etf::TermKind::tuple) return std::nullopt;
  return wire::read_server_id(cursor);
}

}  // namespace

void ServerSystem::add_server_functions() {
  node::RpcTable& functions = node_.functions();
  const auto add = [&](std::string_view module, std::string_view function, std::size_t arity,
                       void (ServerSystem::*procedure)(node::RpcCall)) {
    functions.add(module, function, arity,
                  [this, procedure](node::RpcCall call) { (this->*procedure)(std::move(call)); });
  };
  add("ra_server_sup_sup", "start_server_rpc", 3, &ServerSystem::start_server_rpc);
  add("ra_server_sup_sup", "restart_server_rpc", 3, &ServerSystem::restart_server_rpc);
  add("ra_server_sup_sup", "prepare_server_stop_rpc", 2, &ServerSystem::prepare_server_stop_rpc);
  add("ra_server_sup_sup", "delete_server_rpc", 2, &ServerSystem::delete_server_rpc);
  add("ra", "key_metrics", 1, &ServerSystem::key_metrics_rpc);
  add("ra_counters", "counters", 2, &ServerSystem::counters_rpc);
  add("ra_counters", "overview", 0, &ServerSystem::counters_overview_rpc);
  add("ra_counters", "overview", 1, &ServerSystem::counters_overview_of_rpc);
}

void ServerSystem::start_server_rpc(node::RpcCall call) {
  if (!is_default_system(call.argument(0))) return answer_error(call, "system_not_started");
  Result<raftlog::ServerConfig> config = member::read_server_config_term(call.argument(2));
  if (!config) {
    return call.answer(
        etf::Writer().tuple(2).atom("error").raw(reason_term(config.error())).view());
  }
  const std::string name = config->id.name();
  if (raftlog::MemberLog* log = log_system_.find(config->uid); log != nullptr) {
    // As on a BEAM, where a server that is registered does not run before it is asked for.
    const auto running = unasked_.contains(name) ? std::nullopt : pid_of(log->config().id.name());
    if (running) return answer_already_started(call, *running);
    return answer_error(call, "not_new");
  }
  if (const auto running = pid_of(name)) {
    return call.answer(
        child_failure(name, etf::Writer().tuple(2).atom("already_started").pid(*running).view()));
  }
  if (config->id.node() != node_.name()) {
    return call.answer(
        child_failure(name, reason_term(make_error(ErrorCode::invalid_argument,
                                                   "the id names node " + config->id.node()))));
  }
  if (etf::map_u64(call.argument(2), "initial_machine_version").value_or(0) > 0) {
    return answer_error(call, "invalid_initial_machine_version");
  }
  if (Result<std::unique_ptr<member::StateMachine>> machine =
          machines_.make(etf::without_version(config->machine));
      !machine) {
    return call.answer(child_failure(name, reason_term(machine.error())));
  }
  auto waiting = std::make_shared<node::RpcCall>(std::move(call));
  const auto finish = [name, waiting](const Result<member::Member*>& started) {
    if (started) {
      answer_pid(*waiting, **started);
    } else {
      waiting->answer(child_failure(name, reason_term(started.error())));
    }
  };
  if (!names_in_change_.insert(name).second) {
    return (*waiting).answer(
        child_failure(name, reason_term(make_error(ErrorCode::unavailable,
                                                   "another start of this server is under way"))));
  }
  const auto done = [this, name, finish, alive = alive_](const Result<member::Member*>& started) {
    if (*alive) names_in_change_.erase(name);
    finish(started);
  };
  if (log_system_.find_by_name(name) == nullptr)
    return register_and_start(std::move(*config), done);
  // The name is registered with another uid but not running: as in ra, the new server takes the
  // name over, and what the old one has acknowledged stays on the disk.
  set_server_aside(name, [this, config = std::move(*config), done,
                          alive = alive_](const Result<void>& aside) mutable {
    if (!*alive) return;
    if (!aside) return done(aside.error());
    register_and_start(std::move(config), done);
  });
}

void ServerSystem::restart_server_rpc(node::RpcCall call) {
  if (!is_default_system(call.argument(0))) return answer_error(call, "system_not_started");
  const std::optional<raft::ServerId> id = server_id(call.argument(1));
  raftlog::MemberLog* log = id ? log_system_.find_by_name(id->name()) : nullptr;
  if (log == nullptr) {
    const Error* broken = id ? log_system_.why_broken(id->name()) : nullptr;
    if (broken != nullptr) return call.answer(child_failure(id->name(), reason_term(*broken)));
    return answer_error(call, "name_not_registered");
  }
  if (names_in_change_.contains(id->name())) return answer_error(call, "name_not_registered");
  raftlog::ServerConfig config = log->config();
  if (etf::Cursor(call.argument(2)).kind() != etf::TermKind::map) {
    return call.raise(etf::Writer().tuple(2).atom("badmap").raw(call.argument(2)).view());
  }
  const Result<bool> changed = member::merge_restart_config(config, call.argument(2));
  if (!changed) return call.answer(child_failure(id->name(), reason_term(changed.error())));
  if (const auto running = pid_of(id->name())) {
    if (unasked_.erase(id->name()) == 0) return answer_already_started(call, *running);
    spdlog::info("{}: asked to restart; this node has started it by itself", id->name());
    if (!*changed) {
      const auto waiting = std::make_shared<node::RpcCall>(std::move(call));
      return start_member(*log,
                          [name = id->name(), waiting](const Result<member::Member*>& started) {
                            if (started) return answer_pid(*waiting, **started);
                            waiting->answer(child_failure(name, reason_term(started.error())));
                          });
    }
    stop_member(id->name(), "shutdown");  // to be started with these settings
  }
  auto waiting = std::make_shared<node::RpcCall>(std::move(call));
  log_system_.update_config(
      config, [this, uid = log->uid(), waiting, alive = alive_](const Result<void>& stored) {
        if (!*alive) return;
        raftlog::MemberLog* again = log_system_.find(uid);
        if (again == nullptr) return answer_error(*waiting, "name_not_registered");
        const std::string name = again->config().id.name();
        if (names_in_change_.contains(name)) return answer_error(*waiting, "name_not_registered");
        if (const auto running = pid_of(name)) return answer_already_started(*waiting, *running);
        const auto finish = [name, waiting](const Result<member::Member*>& started) {
          if (started) return answer_pid(*waiting, **started);
          waiting->answer(child_failure(name, reason_term(started.error())));
        };
        if (!stored) return finish(stored.error());
        start_member(*again, finish);
      });
}

void ServerSystem::prepare_server_stop_rpc(node::RpcCall call) {
  if (!is_default_system(call.argument(0))) return answer_error(call, "system_not_started");
  etf::Writer reply;
  reply.tuple(3).atom("ok");
  if (const auto running = pid_of(atom_of(call.argument(1)))) {
    reply.pid(*running);
  } else {
    reply.atom("undefined");
  }
  call.answer(reply.atom("ra_server_sup_sup").view());
}

void ServerSystem::delete_server_rpc(node::RpcCall call) {
  if (!is_default_system(call.argument(0))) return answer_error(call, "system_not_started");
  auto waiting = std::make_shared<node::RpcCall>(std::move(call));
  delete_server(atom_of(waiting->argument(1)),
                [waiting] { waiting->answer(etf::Writer().atom("ok").view()); });
}

void ServerSystem::key_metrics_rpc(node::RpcCall call) {
  const std::optional<raft::ServerId> id = server_id(call.argument(0));
  if (!id) return call.raise_badarg();
  etf::Writer reply;
  if (const member::Member* running = find(id->name())) {
    member::write_key_metrics(*running, reply);
    return call.answer(reply.view());
  }
  const auto known = counters_.find(id->name());
  reply.map(2 + (known == counters_.end() ? 0 : member::kKeyMetrics.size()));
  if (known != counters_.end()) {
    for (const member::Counter field : member::kKeyMetrics) {
      reply.atom(member::kCounterFields[static_cast<std::size_t>(field)].name)
          .integer(known->second->get(field));
    }
  }
  reply.atom("state").atom("noproc").atom("membership").atom("unknown");
  call.answer(reply.view());
}

void ServerSystem::counters_rpc(node::RpcCall call) {
  const std::optional<raft::ServerId> id = server_id(call.argument(0));
  std::string storage;
  const auto fields = node::list_elements(call.argument(1), storage);
  const auto known =
      id && id->node() == node_.name() ? counters_.find(id->name()) : counters_.end();
  if (known == counters_.end() || !fields)
    return call.answer(etf::Writer().atom("undefined").view());
  if (const member::Member* running = find(id->name())) member::refresh_counters(*running);
  std::vector<std::size_t> wanted;
  for (const std::string_view field : *fields) {
    if (const auto position = member::Counters::find(atom_of(field))) wanted.push_back(*position);
  }
  etf::Writer reply;
  reply.map(wanted.size());
  for (const std::size_t position : wanted) {
    reply.atom(member::kCounterFields[position].name).integer(known->second->get(position));
  }
  call.answer(reply.view());
}

namespace {

void write_all_counters(etf::Writer& writer, const member::Counters& counters) {
  writer.map(member::kCounterCount);
  for (std::size_t position = 0; position < member::kCounterCount; ++position) {
    writer.atom(member::kCounterFields[position].name).integer(counters.get(position));
  }
}

}  // namespace

void ServerSystem::write_counters_overview(etf::Writer& writer) {
  writer.map(counters_.size());
  for (const auto& [name, counters] : counters_) {
    if (const member::Member* running = find(name)) member::refresh_counters(*running);
    writer.tuple(2).atom(name).atom(node_.name());
    write_all_counters(writer, *counters);
  }
}

void ServerSystem::counters_overview_rpc(node::RpcCall call) {
  etf::Writer reply;
  write_counters_overview(reply);
  call.answer(reply.view());
}

void ServerSystem::counters_overview_of_rpc(node::RpcCall call) {
  const std::optional<raft::ServerId> id = server_id(call.argument(0));
  const auto known =
      id && id->node() == node_.name() ? counters_.find(id->name()) : counters_.end();
  etf::Writer reply;
  if (known == counters_.end()) {
    reply.atom("undefined");
  } else {
    if (const member::Member* running = find(id->name())) member::refresh_counters(*running);
    write_all_counters(reply, *known->second);
  }
  call.answer(reply.view());
}

}  // namespace rakv::system
