// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/base/result.h"
#include "cnode/node/node.h"
#include "raft/core/types.h"

namespace rakv::kv {

/// Whom a Client asks.
struct ClientOptions {
  std::vector<raft::ServerId> servers;  ///< at least one; tried in this order
  int max_redirects = 10;               ///< followed before the servers are asked again
  std::chrono::milliseconds pause{
      100};  ///< before it asks again, while the leader changes or an entry moves
  /// Where get() reads the entry at `index`, which `leader` has; default: there.
  std::function<raft::ServerId(std::uint64_t index, const raft::ServerId& leader)> read_at;
};

/// Where a put or delete stands in the log.
struct CommittedPosition {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  raft::ServerId leader;
};

/// A value that was read; value and meta are encoded terms.
struct StoredValue {
  std::string value;
  std::string meta;  ///< the map that ra_kv:get/3 gives: index, members, term, size, hash...
  std::uint64_t index = 0;
};

/// What ra:key_metrics/1 tells of a member; absent where the member does not say.
struct KeyMetrics {
  std::string state = "unknown";       ///< leader, follower, ..., noproc
  std::string membership = "unknown";  ///< voter, promotable, non_voter, unknown
  std::string note;                    ///< why the member does not take part; else empty
  std::optional<std::int64_t> term, last_index, last_written_index, commit_index, last_applied,
      snapshot_index;  ///< -1: no snapshot
};

/// A client of an ra_kv cluster, with the semantics of ra_kv.erl: it follows redirects to the
/// leader, and goes on to the next server as long as it is certain that the last one has not
/// carried out the request. When a member names a leader that can't be reached (an election is
/// under way) it asks the servers again, until the deadline.
///
/// Every operation ends at its deadline at the latest. Errors: unavailable (no server could be
/// asked, or it refused: nothing was changed), refused (cookie), malformed (a reply that no member
/// gives), not_found (no such key); timeout only from put and remove: they were sent, and whether
/// they were carried out is unknown. Handlers are called once, on the io_context's thread; none is
/// called after the client or its node is gone.
class Client {
 public:
  template <class T>
  using Handler = std::function<void(Result<T>)>;

  Client(boost::asio::io_context& io, node::Node& node, ClientOptions options);

  /// Stores `value` under `key`; both are encoded terms (ra_kv:put/4).
  void put(std::string_view key, std::string_view value, Clock::time_point deadline,
           Handler<CommittedPosition> handler);
  /// ra_kv:delete/3; not_found when the key was not there.
  void remove(std::string_view key, Clock::time_point deadline, Handler<CommittedPosition> handler);
  /// A linearizable read (ra_kv:get/3): asks for the entry's place, then reads it, at the leader or
  /// where the options say.
  /// When the entry is gone by then (the key was overwritten and the log compacted, or the leader
  /// went) it asks for the place again.
  void get(std::string_view key, Clock::time_point deadline, Handler<StoredValue> handler);
  /// The members as the first server that answers knows them, leader or not.
  void members(Clock::time_point deadline, Handler<std::vector<raft::ServerId>> handler);
  /// Asked of the member's node; the member itself need not be running.
  void key_metrics(const raft::ServerId& member, Clock::time_point deadline,
                   Handler<KeyMetrics> handler);

 private:
  struct Reply {
    std::string term;
    raft::ServerId server;  ///< that gave it
  };
  struct Operation;
  struct Read;

  void request(std::string request, bool changes, Clock::time_point deadline,
               Handler<Reply> handler);
  void try_next(const std::shared_ptr<Operation>& operation, const Error& why);
  void ask(const std::shared_ptr<Operation>& operation, const raft::ServerId& server);
  void send(const std::shared_ptr<Operation>& operation, const raft::ServerId& server);
  void take(const std::shared_ptr<Operation>& operation, const raft::ServerId& server,
            const node::CallResult& result);
  void take_down(const std::shared_ptr<Operation>& operation, const raft::ServerId& server,
                 std::string_view reason);
  void follow(const std::shared_ptr<Operation>& operation, const raft::ServerId& leader);
  void write(std::string_view command, Clock::time_point deadline,
             Handler<CommittedPosition> handler);
  void find_entry(const std::shared_ptr<Read>& read);
  void read_entry(const std::shared_ptr<Read>& read, const raft::ServerId& server,
                  std::uint64_t index, std::string_view members);
  void read_failed(const std::shared_ptr<Read>& read, std::uint64_t index, const Error& why);
  Clock::time_point now() const { return clock_.now(); }
  void after_pause(Clock::time_point deadline, std::function<void()> then);

  boost::asio::io_context& io_;
  Clock& clock_;
  node::Node& node_;
  ClientOptions options_;
};

}  // namespace rakv::kv
