#include "kv/client.h"

#include <algorithm>

#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"

namespace rakv::kv {
namespace {

Error malformed_reply(const raft::ServerId& server, std::string_view term) {
  return make_error(ErrorCode::malformed, "unexpected reply of " + to_string(server) + ": " +
                                              etf::print_text(term.substr(0, 400)) +
                                              "; is it a member of an ra_kv cluster?");
}

Error unknown_outcome(const raft::ServerId& server, const std::string& why) {
  return make_error(ErrorCode::timeout, why + " " + to_string(server) +
                                            "; the outcome is unknown: read the key before you "
                                            "try again");
}

/// Reads a tuple whose first element is the atom `tag`.
bool tagged(etf::Cursor& cursor, std::string_view tag, std::uint32_t arity) {
  if (cursor.kind() != etf::TermKind::tuple) return false;
  etf::Cursor ahead(cursor.rest());
  if (ahead.tuple() != arity || !ahead.is_atom(tag)) return false;
  cursor.tuple();
  return cursor.is_atom(tag);
}

std::string leader_call(const etf::Writer& request) {
  return etf::Writer().tuple(2).atom("leader_call").raw(request.view()).take();
}

std::optional<Written> read_written(std::string_view meta) {
  etf::Cursor cursor(meta);
  const std::optional<std::uint32_t> pairs = cursor.map();
  if (!pairs) return {};
  Written written;
  for (std::uint32_t pair = 0; pair < *pairs; ++pair) {
    if (cursor.is_atom("index")) {
      written.index = cursor.u64().value_or(0);
    } else if (cursor.is_atom("term")) {
      written.term = cursor.u64().value_or(0);
    } else {
      cursor.skip();
      cursor.skip();
    }
  }
  return cursor.ok() ? std::optional(written) : std::nullopt;
}

std::optional<std::string> read_state(etf::Cursor& cursor) {
  const std::optional<std::string_view> name = cursor.atom();
  return name ? std::optional(std::string(*name)) : std::nullopt;
}

std::optional<KeyMetrics> read_key_metrics(std::string_view term) {
  etf::Cursor cursor(term);
  const std::optional<std::uint32_t> pairs = cursor.map();
  if (!pairs) return {};
  KeyMetrics metrics;
  for (std::uint32_t pair = 0; pair < *pairs; ++pair) {
    if (cursor.is_atom("state")) {
      metrics.state = read_state(cursor).value_or("");
    } else if (cursor.is_atom("membership")) {
      metrics.membership = read_state(cursor).value_or("");
    } else if (cursor.is_atom("term")) {
      metrics.term = cursor.i64();
    } else if (cursor.is_atom("last_index")) {
      metrics.last_index = cursor.i64();
    } else if (cursor.is_atom("last_written_index")) {
      metrics.last_written_index = cursor.i64();
    } else if (cursor.is_atom("commit_index")) {
      metrics.commit_index = cursor.i64();
    } else if (cursor.is_atom("last_applied")) {
      metrics.last_applied = cursor.i64();
    } else if (cursor.is_atom("snapshot_index")) {
      metrics.snapshot_index = cursor.i64();
    } else {
      cursor.skip();
      cursor.skip();
    }
  }
  return cursor.ok() ? std::optional(metrics) : std::nullopt;
}

std::string why_applied(const node::ApplyResult& result) {
  return result.status == node::ApplyResult::Status::timeout ? "no answer in time"
                                                             : etf::print_text(result.term);
}

}  // namespace

struct Client::Operation {
  std::string request;
  bool changes = false;  ///< carried out twice or unnoticed would matter
  Handler<Reply> handler;
  Clock::time_point deadline;
  std::size_t next_server = 0;
  int redirects = 0;

  std::chrono::milliseconds left() const {
    return std::max(std::chrono::milliseconds(1),
                    std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()));
  }
};

Client::Client(node::Node& node, ClientOptions options)
    : node_(node), options_(std::move(options)) {}

void Client::request(std::string request, bool changes, Handler<Reply> handler) {
  auto operation = std::make_shared<Operation>();
  operation->request = std::move(request);
  operation->changes = changes;
  operation->handler = std::move(handler);
  operation->deadline = Clock::now() + options_.timeout;
  try_next(std::move(operation),
           make_error(ErrorCode::invalid_argument, "there is no server to ask"));
}

void Client::try_next(std::shared_ptr<Operation> operation, Error why) {
  if (operation->next_server == options_.servers.size() ||
      (operation->next_server > 0 && Clock::now() >= operation->deadline)) {
    return operation->handler(std::move(why));
  }
  ask(operation, options_.servers[operation->next_server++]);
}

// The connection is made first, apart from the call: its failure is certain not to have done
// anything, and says why.
void Client::ask(std::shared_ptr<Operation> operation, const raft::ServerId& server) {
  node_.connect(server.node(), [this, operation, server](const Result<void>& connected) {
    if (!connected) {
      const ErrorCode code = connected.error().code == ErrorCode::refused ? ErrorCode::refused
                                                                          : ErrorCode::unavailable;
      return try_next(operation, make_error(code, "no connection to " + server.node() + ": " +
                                                      connected.error().message));
    }
    if (Clock::now() >= operation->deadline) {
      return operation->handler(make_error(
          ErrorCode::unavailable, "the time was over before " + server.node() +
                                      " was connected; nothing was sent; give more --timeout"));
    }
    send(operation, server);
  });
}

void Client::send(std::shared_ptr<Operation> operation, const raft::ServerId& server) {
  // What only reads may share its time among the servers that are left.
  const auto servers_left = static_cast<long>(options_.servers.size() - operation->next_server + 1);
  const std::chrono::milliseconds time =
      operation->changes ? operation->left() : operation->left() / servers_left;
  node_.call(
      server.node(), server.name(),
      [&](dist::OutMessage& out) { out.text.append(operation->request); }, time,
      [this, operation, server](const node::CallResult& result) {
        take(operation, server, result);
      });
}

void Client::take(std::shared_ptr<Operation> operation, const raft::ServerId& server,
                  const node::CallResult& result) {
  using Status = node::CallResult::Status;
  etf::Cursor cursor(result.term);
  if (result.status == Status::timeout) {
    if (operation->changes)
      return operation->handler(unknown_outcome(server, "no answer in time from"));
    return try_next(operation, make_error(ErrorCode::unavailable,
                                          "no answer in time from " + to_string(server) +
                                              "; has the cluster a leader and a majority of its "
                                              "members? see rakv status"));
  }
  if (result.status == Status::down) {
    if (cursor.is_atom("noproc")) {
      return try_next(operation,
                      make_error(ErrorCode::unavailable,
                                 "there is no server '" + server.name() + "' on node " +
                                     server.node() + "; check --cluster, or start the member"));
    }
    const std::string why =
        "the server ended or was cut off (" + etf::print_text(result.term) + "):";
    if (operation->changes) return operation->handler(unknown_outcome(server, why));
    return try_next(operation, make_error(ErrorCode::unavailable, why + " " + to_string(server)));
  }
  if (tagged(cursor, "redirect", 2)) {
    const std::optional<raft::ServerId> leader = wire::read_server_id(cursor);
    if (!leader) return operation->handler(malformed_reply(server, result.term));
    if (++operation->redirects > options_.max_redirects) {
      return operation->handler(make_error(
          ErrorCode::unavailable, "redirected more than " + std::to_string(options_.max_redirects) +
                                      " times, last to " + to_string(*leader) +
                                      "; the cluster has no stable leader: try again later"));
    }
    return ask(operation, *leader);
  }
  if (tagged(cursor, "error", 2)) {
    const std::string text = etf::print_text(cursor.rest());
    return operation->handler(
        make_error(ErrorCode::unavailable, to_string(server) + " refused: " + text));
  }
  operation->handler(Reply{std::string(result.term), server});
}

void Client::write(std::string command, Handler<Written> handler) {
  etf::Writer request;
  request.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr").raw(command).atom(
      "await_consensus");
  this->request(leader_call(request), true, [handler = std::move(handler)](Result<Reply> reply) {
    if (!reply) return handler(reply.error());
    etf::Cursor cursor(reply->term);
    if (tagged(cursor, "wrap_reply", 2)) {
      if (tagged(cursor, "ok", 2)) {
        if (std::optional<Written> written = read_written(cursor.rest())) {
          written->leader = reply->server;
          return handler(*written);
        }
      } else if (tagged(cursor, "error", 2) && cursor.is_atom("not_found")) {
        return handler(make_error(ErrorCode::not_found, "there is no such key"));
      }
    }
    handler(malformed_reply(reply->server, reply->term));
  });
}

void Client::put(std::string_view key, std::string_view value, Handler<Written> handler) {
  const Result<std::uint32_t> hash = etf::phash2(value);
  if (!hash) return handler(hash.error());
  const Result<std::size_t> size = etf::external_size(value);
  if (!size) return handler(size.error());
  etf::Writer command;
  command.tuple(4).atom("put").raw(key).raw(value).map(2);
  command.atom("size").u64(*size).atom("hash").u64(*hash);
  write(command.take(), std::move(handler));
}

void Client::remove(std::string_view key, Handler<Written> handler) {
  write(etf::Writer().tuple(2).atom("delete").raw(key).take(), std::move(handler));
}

void Client::get(std::string_view key, Handler<StoredValue> handler) {
  etf::Writer query;
  query.tuple(2).atom("consistent_aux").tuple(2).atom("get").raw(key);
  const Clock::time_point deadline = Clock::now() + options_.timeout;
  request(leader_call(query), false,
          [this, deadline, handler = std::move(handler)](Result<Reply> reply) {
            if (!reply) return handler(reply.error());
            etf::Cursor cursor(reply->term);
            if (tagged(cursor, "wrap_reply", 2)) {
              if (tagged(cursor, "ok", 3)) {
                const std::optional<std::uint64_t> index = cursor.u64();
                const std::optional<std::string_view> members = cursor.skip();
                if (index && members)
                  return read_entry(reply->server, *index, std::string(*members), deadline,
                                    handler);
              } else if (tagged(cursor, "error", 2) && cursor.is_atom("not_found")) {
                return handler(make_error(ErrorCode::not_found, "there is no such key"));
              }
            }
            handler(malformed_reply(reply->server, reply->term));
          });
}

void Client::read_entry(const raft::ServerId& server, std::uint64_t index, std::string members,
                        Clock::time_point deadline, Handler<StoredValue> handler) {
  const auto left =
      std::max(std::chrono::milliseconds(1),
               std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()));
  etf::Writer arguments;
  arguments.list(4);
  wire::write_server_id(arguments, server);
  arguments.u64(index).raw(members).u64(static_cast<std::uint64_t>(left.count())).nil();
  node_.apply(server.node(), "ra_kv", "read_entry", arguments.view(), left,
              [server, index, handler = std::move(handler)](const node::ApplyResult& result) {
                etf::Cursor cursor(result.term);
                if (result.status == node::ApplyResult::Status::returned &&
                    tagged(cursor, "ok", 3) && cursor.skip()) {
                  return handler(StoredValue{std::string(cursor.rest()), index});
                }
                handler(make_error(ErrorCode::unavailable,
                                   "the entry at index " + std::to_string(index) +
                                       " could not be read at " + to_string(server) + " (" +
                                       why_applied(result) +
                                       "); the key may just have been changed: try again"));
              });
}

void Client::members(bool at_leader, Handler<std::vector<raft::ServerId>> handler) {
  request(etf::Writer()
              .tuple(2)
              .atom(at_leader ? "leader_call" : "local_call")
              .tuple(2)
              .atom("state_query")
              .atom("members")
              .take(),
          false, [handler = std::move(handler)](Result<Reply> reply) {
            if (!reply) return handler(reply.error());
            etf::Cursor cursor(reply->term);
            std::vector<raft::ServerId> members;
            if (tagged(cursor, "ok", 3)) {
              const std::optional<std::uint32_t> count = cursor.list();
              for (std::uint32_t each = 0; count && each < *count && cursor.ok(); ++each) {
                if (std::optional<raft::ServerId> id = wire::read_server_id(cursor))
                  members.push_back(std::move(*id));
              }
              if (count && cursor.list_end(*count)) return handler(std::move(members));
            }
            handler(malformed_reply(reply->server, reply->term));
          });
}

void Client::member_overview(Handler<std::string> handler) {
  request(etf::Writer()
              .tuple(2)
              .atom("local_call")
              .tuple(2)
              .atom("state_query")
              .atom("overview")
              .take(),
          false, [handler = std::move(handler)](Result<Reply> reply) {
            if (!reply) return handler(reply.error());
            etf::Cursor cursor(reply->term);
            if (tagged(cursor, "ok", 3) && cursor.kind() == etf::TermKind::map)
              return handler(std::string(*cursor.skip()));
            handler(malformed_reply(reply->server, reply->term));
          });
}

void Client::key_metrics(const raft::ServerId& member, Handler<KeyMetrics> handler) {
  etf::Writer arguments;
  arguments.list(1);
  wire::write_server_id(arguments, member);
  arguments.nil();
  node_.apply(
      member.node(), "ra", "key_metrics", arguments.view(), options_.timeout,
      [member, handler = std::move(handler)](const node::ApplyResult& result) {
        if (result.status == node::ApplyResult::Status::returned) {
          if (std::optional<KeyMetrics> metrics = read_key_metrics(result.term))
            return handler(*metrics);
        }
        handler(make_error(ErrorCode::unavailable, member.node() + ": " + why_applied(result)));
      });
}

}  // namespace rakv::kv
