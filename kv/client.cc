// SPDX-License-Identifier: Apache-2.0
#include "kv/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "cnode/base/clock.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/wire/client_requests.h"
#include "raft/wire/ids.h"

namespace rakv::kv {
namespace {

/// An entry that its leader names this often and can't read is not coming.
constexpr int kMaxReadsOfAnEntry = 5;

Error malformed_reply(const raft::ServerId& server, std::string_view term) {
  return make_error(
      ErrorCode::malformed,
      fmt::format("unexpected reply of {}: {}: check that it is a member of an ra_kv cluster",
                  to_string(server), etf::print_brief(term)));
}

Error unknown_outcome(const std::string& why) {
  return make_error(ErrorCode::timeout,
                    why + "; the outcome is unknown: read the key before you try again");
}

std::chrono::milliseconds time_until(Clock::time_point deadline, Clock::time_point now) {
  return std::max(std::chrono::milliseconds(1),
                  std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now));
}

/// Reads a tuple whose first element is the atom `tag`.
bool tagged(etf::Cursor& cursor, std::string_view tag, std::uint32_t arity) {
  if (cursor.kind() != etf::TermKind::tuple) return false;
  etf::Cursor ahead(cursor.rest());
  if (ahead.tuple() != arity || !ahead.is_atom(tag)) return false;
  cursor.tuple();
  return cursor.is_atom(tag);
}

std::optional<CommittedPosition> read_written(std::string_view meta) {
  const std::optional<std::uint64_t> index = etf::map_u64(meta, "index");
  const std::optional<std::uint64_t> term = etf::map_u64(meta, "term");
  if (!term || index.value_or(0) == 0) return std::nullopt;
  return CommittedPosition{*index, *term, {}};
}

constexpr std::pair<std::string_view, std::optional<std::int64_t> KeyMetrics::*> kIndexes[] = {
    {"term", &KeyMetrics::term},
    {"last_index", &KeyMetrics::last_index},
    {"last_written_index", &KeyMetrics::last_written_index},
    {"commit_index", &KeyMetrics::commit_index},
    {"last_applied", &KeyMetrics::last_applied},
    {"snapshot_index", &KeyMetrics::snapshot_index}};

std::optional<KeyMetrics> read_key_metrics(std::string_view term) {
  KeyMetrics metrics;
  bool sound = true;
  etf::Cursor cursor(term);
  const bool is_map =
      etf::for_each_atom_pair(cursor, [&](std::string_view key, std::string_view encoded) {
        etf::Cursor value(encoded);
        if (key == "state") {
          metrics.state = value.atom().value_or("");
        } else if (key == "membership") {
          metrics.membership = value.atom().value_or("");
        } else if (key == "note" && value.kind() == etf::TermKind::binary) {
          metrics.note = value.binary().value_or("");
        }
        for (const auto& [name, index] : kIndexes) {
          if (key == name) metrics.*index = value.i64();
        }
        sound = sound && value.ok();
      });
  return is_map && sound ? std::optional(metrics) : std::nullopt;
}

std::string why_applied(const node::ApplyResult& result) {
  return result.status == node::ApplyResult::Status::timeout ? "no answer in time"
                                                             : etf::print_brief(result.term);
}

}  // namespace

struct Client::Operation {
  explicit Operation(boost::asio::io_context& io) : timer(io) {}

  std::string request;
  bool changes = false;  ///< carried out twice or unnoticed would matter
  Handler<Reply> handler;
  Clock::time_point deadline;
  Timer timer;  ///< of the connection that is being made
  std::size_t next_server = 0;
  int redirects = 0;
  int attempt = 0;       ///< number of the connection that is awaited; others come too late
  std::string failures;  ///< of the servers asked so far in this round

  /// This server's share of the time, when others may have to be asked after it.
  std::chrono::milliseconds share(std::size_t servers) const {
    return time_until(deadline, timer.now()) /
           static_cast<long>(servers - std::min(servers, next_server) + 1);
  }
};

struct Client::Read {
  std::string key;
  Clock::time_point deadline;
  Handler<StoredValue> handler;
  std::uint64_t index = 0;  ///< of the entry that could not be read last
  int failures = 0;         ///< to read that entry
};

Client::Client(boost::asio::io_context& io, node::Node& node, ClientOptions options)
    : io_(io), clock_(Clock::of(io)), node_(node), options_(std::move(options)) {}

void Client::request(std::string request, bool changes, Clock::time_point deadline,
                     Handler<Reply> handler) {
  auto operation = std::make_shared<Operation>(io_);
  operation->request = std::move(request);
  operation->changes = changes;
  operation->handler = std::move(handler);
  operation->deadline = deadline;
  if (options_.servers.empty()) {
    return operation->handler(
        make_error(ErrorCode::invalid_argument, "there is no server to ask; give one"));
  }
  ask(operation, options_.servers[operation->next_server++]);
}

/// `why`: what came of the last one; it is certain that it has not carried out the request.
void Client::try_next(const std::shared_ptr<Operation>& operation, const Error& why) {
  if (!operation->failures.empty()) operation->failures += "; ";
  operation->failures += why.message;
  const bool over = now() >= operation->deadline;
  if (!over && operation->next_server < options_.servers.size())
    return ask(operation, options_.servers[operation->next_server++]);
  // A member that knows a leader, and no such leader: the others are about to elect one.
  if (over || operation->redirects == 0)
    return operation->handler(make_error(why.code, operation->failures));
  after_pause(operation->deadline, [this, operation, why] {
    if (now() >= operation->deadline)
      return operation->handler(make_error(why.code, operation->failures));
    operation->failures.clear();
    operation->redirects = 0;
    operation->next_server = 1;
    ask(operation, options_.servers.front());
  });
}

// The connection is made first, apart from the call: its failure is certain not to have done
// anything, and says why.
void Client::ask(const std::shared_ptr<Operation>& operation, const raft::ServerId& server) {
  const int attempt = ++operation->attempt;
  const std::chrono::milliseconds time = operation->share(options_.servers.size());
  operation->timer.expires_after(time);
  operation->timer.async_wait([this, operation, server, attempt,
                               time](boost::system::error_code error) {
    if (error || operation->attempt != attempt) return;
    ++operation->attempt;
    try_next(operation, make_error(ErrorCode::unavailable,
                                   fmt::format("no connection to {} within {} ms: check that its "
                                               "host is up, or give more --timeout",
                                               server.node(), time.count())));
  });
  node_.connect(server.node(), [this, operation, server, attempt](const Result<void>& connected) {
    if (operation->attempt != attempt) return;
    ++operation->attempt;
    operation->timer.cancel();
    if (connected) return send(operation, server);
    if (connected.error().code == ErrorCode::refused) return try_next(operation, connected.error());
    try_next(operation, make_error(ErrorCode::unavailable,
                                   connected.error().message +
                                       ": start that node, or name another with --server"));
  });
}

void Client::send(const std::shared_ptr<Operation>& operation, const raft::ServerId& server) {
  const std::chrono::milliseconds time = operation->changes
                                             ? time_until(operation->deadline, now())
                                             : operation->share(options_.servers.size());
  node_.call(
      server.node(), server.name(),
      [&](distribution::OutMessage& out) { out.text.append(operation->request); }, time,
      [this, operation, server](const node::CallResult& result) {
        take(operation, server, result);
      });
}

void Client::take(const std::shared_ptr<Operation>& operation, const raft::ServerId& server,
                  const node::CallResult& result) {
  using Status = node::CallResult::Status;
  if (result.status == Status::timeout) {
    const std::string why = "no answer in time from " + to_string(server);
    if (operation->changes) return operation->handler(unknown_outcome(why));
    return try_next(operation, make_error(ErrorCode::unavailable,
                                          why + ": has the cluster a leader and a majority of its "
                                                "members? see rakv status"));
  }
  if (result.status == Status::down) return take_down(operation, server, result.term);
  etf::Cursor cursor(result.term);
  if (const std::optional<raft::ServerId> leader = wire::read_redirect(result.term))
    return follow(operation, *leader);
  if (tagged(cursor, "error", 2)) {
    return operation->handler(make_error(
        ErrorCode::unavailable,
        fmt::format("{} refused: {}; nothing was changed: see that member's log for more",
                    to_string(server), etf::print_brief(cursor.rest()))));
  }
  operation->handler(Reply{std::string(result.term), server});
}

void Client::take_down(const std::shared_ptr<Operation>& operation, const raft::ServerId& server,
                       std::string_view reason) {
  etf::Cursor cursor(reason);
  if (cursor.is_atom("noproc")) {
    return try_next(operation,
                    make_error(ErrorCode::unavailable,
                               fmt::format("there is no server '{}' on node {}: check --cluster, "
                                           "or start the member",
                                           server.name(), server.node())));
  }
  const std::string why =
      fmt::format("{} ended or was cut off ({})", to_string(server), etf::print_brief(reason));
  if (operation->changes) return operation->handler(unknown_outcome(why));
  try_next(operation, make_error(ErrorCode::unavailable, why + ": try again"));
}

void Client::follow(const std::shared_ptr<Operation>& operation, const raft::ServerId& leader) {
  if (++operation->redirects <= options_.max_redirects) return ask(operation, leader);
  operation->next_server = options_.servers.size();
  try_next(operation,
           make_error(ErrorCode::unavailable,
                      fmt::format("redirected more than {} times, last to {}: the cluster has no "
                                  "stable leader; see rakv status, and try again",
                                  options_.max_redirects, to_string(leader))));
}

void Client::after_pause(Clock::time_point deadline, std::function<void()> then) {
  auto timer = std::make_shared<Timer>(io_, std::min(options_.pause, time_until(deadline, now())));
  timer->async_wait([timer, then = std::move(then)](boost::system::error_code error) {
    if (!error) then();
  });
}

void Client::write(std::string_view command, Clock::time_point deadline,
                   Handler<CommittedPosition> handler) {
  etf::Writer writer;
  wire::write_leader_call(writer);
  wire::write_user_command(writer, raft::event::Priority::normal, command,
                           etf::Writer().atom("await_consensus").view());
  request(writer.take(), true, deadline, [handler = std::move(handler)](Result<Reply> reply) {
    if (!reply) return handler(reply.error());
    etf::Cursor cursor(reply->term);
    if (tagged(cursor, "wrap_reply", 2)) {
      if (tagged(cursor, "ok", 2)) {
        if (std::optional<CommittedPosition> written = read_written(cursor.rest())) {
          written->leader = reply->server;
          return handler(*written);
        }
      } else if (tagged(cursor, "error", 2) && cursor.is_atom("not_found")) {
        return handler(make_error(ErrorCode::not_found, "there is no such key"));
      }
    }
    handler(unknown_outcome(malformed_reply(reply->server, reply->term).message));
  });
}

void Client::put(std::string_view key, std::string_view value, Clock::time_point deadline,
                 Handler<CommittedPosition> handler) {
  const Result<std::uint32_t> hash = etf::phash2(value);
  if (!hash) return handler(hash.error());
  const Result<std::size_t> size = etf::external_size(value);
  if (!size) return handler(size.error());
  etf::Writer command;
  command.tuple(4).atom("put").raw(key).raw(value).map(2);
  command.atom("size").u64(*size).atom("hash").u64(*hash);
  write(command.view(), deadline, std::move(handler));
}

void Client::remove(std::string_view key, Clock::time_point deadline,
                    Handler<CommittedPosition> handler) {
  write(etf::Writer().tuple(2).atom("delete").raw(key).view(), deadline, std::move(handler));
}

void Client::get(std::string_view key, Clock::time_point deadline, Handler<StoredValue> handler) {
  find_entry(std::make_shared<Read>(Read{std::string(key), deadline, std::move(handler)}));
}

void Client::find_entry(const std::shared_ptr<Read>& read) {
  etf::Writer query;
  wire::write_leader_call(query);
  wire::write_consistent_aux(query, etf::Writer().tuple(2).atom("get").raw(read->key).view());
  request(query.take(), false, read->deadline, [this, read](Result<Reply> reply) {
    if (!reply) return read->handler(reply.error());
    etf::Cursor cursor(reply->term);
    if (tagged(cursor, "wrap_reply", 2)) {
      if (tagged(cursor, "ok", 3)) {
        const std::optional<std::uint64_t> index =
            cursor.kind() == etf::TermKind::integer ? cursor.u64() : std::nullopt;
        const std::optional<std::string_view> members = index ? cursor.skip() : std::nullopt;
        if (members) {
          const raft::ServerId& leader = reply->server;
          return read_entry(read, options_.read_at ? options_.read_at(*index, leader) : leader,
                            *index, *members);
        }
      } else if (tagged(cursor, "error", 2) && cursor.is_atom("not_found")) {
        return read->handler(make_error(ErrorCode::not_found, "there is no such key"));
      }
    }
    read->handler(malformed_reply(reply->server, reply->term));
  });
}

void Client::read_entry(const std::shared_ptr<Read>& read, const raft::ServerId& server,
                        std::uint64_t index, std::string_view members) {
  const std::chrono::milliseconds left = time_until(read->deadline, now());
  etf::Writer arguments;
  arguments.list(4);
  wire::write_server_id(arguments, server);
  arguments.u64(index).raw(members).u64(static_cast<std::uint64_t>(left.count())).nil();
  node_.apply(
      server.node(), "ra_kv", "read_entry", arguments.view(), left,
      [this, read, server, index](const node::ApplyResult& result) {
        etf::Cursor cursor(result.term);
        if (result.status == node::ApplyResult::Status::returned && tagged(cursor, "ok", 3)) {
          if (const std::optional<std::string_view> meta = cursor.skip()) {
            return read->handler(
                StoredValue{std::string(cursor.rest()), std::string(*meta), index});
          }
        }
        read_failed(
            read, index,
            make_error(ErrorCode::unavailable,
                       fmt::format("the entry at index {} could not be read at {} ({}): try again, "
                                   "and see that member's log",
                                   index, to_string(server), why_applied(result))));
      });
}

// The entry was overwritten and compacted away meanwhile, or the leader is gone: the cluster knows
// where the value is now. An entry that stays the place and stays unreadable is a fault over there.
void Client::read_failed(const std::shared_ptr<Read>& read, std::uint64_t index, const Error& why) {
  read->failures = index == read->index ? read->failures + 1 : 1;
  read->index = index;
  if (read->failures >= kMaxReadsOfAnEntry || now() >= read->deadline) return read->handler(why);
  after_pause(read->deadline, [this, read, why] {
    if (now() >= read->deadline) return read->handler(why);
    find_entry(read);
  });
}

void Client::members(Clock::time_point deadline, Handler<std::vector<raft::ServerId>> handler) {
  etf::Writer query;
  wire::write_local_call(query);
  wire::write_state_query(query, "members");
  request(query.take(), false, deadline, [handler = std::move(handler)](Result<Reply> reply) {
    if (!reply) return handler(reply.error());
    etf::Cursor cursor(reply->term);
    std::vector<raft::ServerId> members;
    if (tagged(cursor, "ok", 3) && cursor.kind() == etf::TermKind::list) {
      const std::optional<std::uint32_t> count = cursor.list();
      for (std::uint32_t each = 0; count && each < *count && cursor.ok(); ++each) {
        if (std::optional<raft::ServerId> id = wire::read_server_id(cursor))
          members.push_back(std::move(*id));
      }
      if (count && members.size() == *count && cursor.list_end(*count))
        return handler(std::move(members));
    }
    handler(malformed_reply(reply->server, reply->term));
  });
}

void Client::key_metrics(const raft::ServerId& member, Clock::time_point deadline,
                         Handler<KeyMetrics> handler) {
  etf::Writer arguments;
  arguments.list(1);
  wire::write_server_id(arguments, member);
  arguments.nil();
  node_.apply(
      member.node(), "ra", "key_metrics", arguments.view(), time_until(deadline, now()),
      [member, handler = std::move(handler)](const node::ApplyResult& result) {
        if (result.status == node::ApplyResult::Status::returned) {
          if (std::optional<KeyMetrics> metrics = read_key_metrics(result.term))
            return handler(*metrics);
        }
        handler(make_error(ErrorCode::unavailable, member.node() + ": " + why_applied(result)));
      });
}

}  // namespace rakv::kv
