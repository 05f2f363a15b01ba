// SPDX-License-Identifier: Apache-2.0
#include "kv/client_service.h"

#include <boost/asio/post.hpp>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/ids.h"

namespace rakv::kv {
namespace {

/// What waits here takes memory, also when the caller has gone meanwhile.
constexpr std::chrono::milliseconds kLongest{60'000};
/// What the functions that this node answers stand for.
constexpr const char* kRaVersion = "3.1.10";

std::optional<raft::ServerId> server_argument(const node::RpcCall& call, std::size_t position) {
  etf::Cursor cursor(call.argument(position));
  return cursor.kind() == etf::TermKind::tuple ? wire::read_server_id(cursor) : std::nullopt;
}

std::optional<std::chrono::milliseconds> time_argument(const node::RpcCall& call,
                                                       std::size_t position) {
  etf::Cursor cursor(call.argument(position));
  const auto given = cursor.kind() == etf::TermKind::integer ? cursor.u64() : std::nullopt;
  if (!given) return std::nullopt;
  return std::chrono::milliseconds(std::min(*given, static_cast<std::uint64_t>(kLongest.count())));
}

void answer_value(node::RpcCall& call, const Result<StoredValue>& stored,
                  const raft::ServerId& server, bool in_time) {
  etf::Writer reply;
  if (stored) {
    reply.tuple(3).atom("ok").raw(stored->meta).raw(stored->value);
  } else if (stored.error().code == ErrorCode::not_found) {
    reply.tuple(2).atom("error").atom("not_found");
  } else if (!in_time) {
    wire::write_server_id(reply.tuple(2).atom("timeout"), server);
  } else {
    reply.tuple(2).atom("error").binary(stored.error().message);
  }
  call.answer(reply.view());
}

void write_application(etf::Writer& writer, const char* name, const char* what, const char* vsn) {
  writer.tuple(3).atom(name).byte_list(what).byte_list(vsn);
}

void answer_which_applications(node::RpcCall call) {
  etf::Writer reply;
  reply.list(2);
  write_application(reply, "ra", "what rakv answers for", kRaVersion);
  write_application(reply, "rakv", "native member of ra_kv clusters", RAKV_VERSION);
  call.answer(reply.nil().view());
}

}  // namespace

ClientService::ClientService(boost::asio::io_context& io, system::ServerSystem& system)
    : io_(io), system_(system), caller_pid_(system.node().spawn(caller_)) {}

void ClientService::add_functions() {
  const auto add = [this](std::string_view module, std::string_view function, std::size_t arity,
                          void (ClientService::*procedure)(node::RpcCall)) {
    system_.node().functions().add(module, function, arity, [this, procedure](node::RpcCall call) {
      (this->*procedure)(std::move(call));
    });
  };
  add("ra_kv", "get", 3, &ClientService::answer_get);
  add("ra", "aux_command", 2, &ClientService::answer_aux_command);
  add("ra", "trigger_compaction", 1, &ClientService::answer_trigger_compaction);
  system_.node().functions().add("application", "which_applications", 0, answer_which_applications);
}

/// ra_kv.erl looks for a member on its own node in the list of members; only one that runs has
/// applied anything.
raft::ServerId ClientService::reader(std::uint64_t index, const raft::ServerId& leader) {
  const member::Member* member = system_.find(leader.name());
  return member != nullptr && member->last_applied().value() >= index ? member->id() : leader;
}

void ClientService::get(const raft::ServerId& server, std::string_view key,
                        std::chrono::milliseconds timeout, Client::Handler<StoredValue> handler) {
  ClientOptions options;
  options.servers = {server};
  options.read_at = [this](std::uint64_t index, const raft::ServerId& leader) {
    return reader(index, leader);
  };
  const auto client = std::make_shared<Client>(io_, system_.node(), std::move(options));
  client->get(key, Clock::of(io_).now() + timeout,
              [this, client, handler = std::move(handler)](Result<StoredValue> stored) {
                handler(std::move(stored));
                boost::asio::post(io_, [client] {});  // it is what calls this
              });
}

void ClientService::answer_get(node::RpcCall call) {
  const std::optional<raft::ServerId> server = server_argument(call, 0);
  const std::optional<std::chrono::milliseconds> timeout = time_argument(call, 2);
  if (!server || !timeout) return call.raise_badarg();
  Clock& clock = Clock::of(io_);
  const auto deadline = clock.now() + *timeout;
  auto waiting = std::make_shared<node::RpcCall>(std::move(call));
  get(*server, waiting->argument(1), *timeout,
      [waiting, server = *server, deadline, &clock](const Result<StoredValue>& stored) {
        answer_value(*waiting, stored, server, clock.now() < deadline);
      });
}

void ClientService::answer_aux_command(node::RpcCall call) {
  const std::optional<raft::ServerId> server = server_argument(call, 0);
  if (!server) return call.raise_badarg();
  auto waiting = std::make_shared<node::RpcCall>(std::move(call));
  system_.node().call(
      server->node(), server->name(),
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        wire::write_aux_command(writer, waiting->argument(1));
      },
      kLongest,
      [waiting](const node::CallResult& result) {
        if (result.status == node::CallResult::Status::reply) return waiting->answer(result.term);
        const std::string timeout = etf::Writer().atom("timeout").take();
        const bool down = result.status == node::CallResult::Status::down;
        etf::Writer reason;
        reason.tuple(2).raw(down ? result.term : std::string_view(timeout));
        reason.tuple(3).atom("gen_statem").atom("call").list(3).raw(waiting->argument(0));
        wire::write_aux_command(reason, waiting->argument(1));
        reason.atom("infinity").nil();
        waiting->exit(reason.view());
      });
}

void ClientService::answer_trigger_compaction(node::RpcCall call) {
  const std::optional<raft::ServerId> server = server_argument(call, 0);
  if (!server) return call.raise_badarg();
  system_.node().cast(caller_pid_, server->node(), server->name(),
                      [](distribution::OutMessage& out) {
                        etf::Writer writer(out.text);
                        wire::write_compact_log(writer);
                      });
  call.answer(etf::Writer().atom("ok").view());
}

}  // namespace rakv::kv
