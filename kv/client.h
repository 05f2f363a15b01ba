#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/node/node.h"
#include "raft/core/types.h"

namespace rakv::kv {

/// Whom a Client asks, and for how long.
struct ClientOptions {
  std::vector<raft::ServerId> servers;      ///< at least one; tried in this order
  std::chrono::milliseconds timeout{5000};  ///< for a whole operation, redirects included
  int max_redirects = 10;                   ///< followed in one operation
};

/// Where a put or delete stands in the log.
struct Written {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  raft::ServerId leader;
};

/// A value that was read, as an encoded term.
struct StoredValue {
  std::string value;
  std::uint64_t index = 0;
};

/// What ra:key_metrics/1 tells of a member; absent where the member does not say.
struct KeyMetrics {
  std::string state = "unknown";       ///< leader, follower, ..., noproc
  std::string membership = "unknown";  ///< voter, promotable, non_voter, unknown
  std::optional<std::int64_t> term, last_index, last_written_index, commit_index, last_applied,
      snapshot_index;  ///< -1: no snapshot
};

/// A client of an ra_kv cluster, with the semantics of ra_kv.erl: it follows redirects to the
/// leader, and goes on to the next server as long as it is certain that the last one has not
/// carried out the request.
///
/// Errors of every operation: unavailable (no server could be asked or they refused: not carried
/// out), refused (cookie), malformed (a reply that no member gives), not_found (no such key);
/// timeout only from put and remove: they were sent, and the outcome is unknown. Handlers are
/// called once. The client must outlive its operations.
class Client {
 public:
  template <class T>
  using Handler = std::function<void(Result<T>)>;

  Client(node::Node& node, ClientOptions options);

  /// Stores `value` under `key`; both are encoded terms (ra_kv:put/4).
  void put(std::string_view key, std::string_view value, Handler<Written> handler);
  /// ra_kv:delete/3; not_found when the key was not there.
  void remove(std::string_view key, Handler<Written> handler);
  /// A linearizable read (ra_kv:get/3): asks for the entry's place, then reads it at the leader.
  void get(std::string_view key, Handler<StoredValue> handler);
  /// The members as the leader knows them, or as the first server knows them, leader or not.
  void members(bool at_leader, Handler<std::vector<raft::ServerId>> handler);
  /// The `overview` state query of the first server that answers, as an encoded map
  /// (ra:member_overview/1).
  void member_overview(Handler<std::string> handler);
  /// Asked of the member's node; the member itself need not be running.
  void key_metrics(const raft::ServerId& member, Handler<KeyMetrics> handler);

 private:
  using Clock = std::chrono::steady_clock;
  struct Reply {
    std::string term;
    raft::ServerId server;  ///< that gave it
  };
  struct Operation;

  void request(std::string request, bool changes, Handler<Reply> handler);
  void try_next(std::shared_ptr<Operation> operation, Error why);
  void ask(std::shared_ptr<Operation> operation, const raft::ServerId& server);
  void send(std::shared_ptr<Operation> operation, const raft::ServerId& server);
  void take(std::shared_ptr<Operation> operation, const raft::ServerId& server,
            const node::CallResult& result);
  void write(std::string command, Handler<Written> handler);
  void read_entry(const raft::ServerId& server, std::uint64_t index, std::string members,
                  Clock::time_point deadline, Handler<StoredValue> handler);

  node::Node& node_;
  ClientOptions options_;
};

}  // namespace rakv::kv
