// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/node/node.h"
#include "kv/client.h"
#include "kv/program/command_io.h"
#include "kv/program/cookie_option.h"

namespace rakv::kv {

/// Which cluster a command asks, and for how long.
struct SessionArguments {
  std::vector<std::string> servers;  ///< as --server has them: NAME@HOST[,NAME@HOST...]
  std::string cluster = "kv";
  CookieSource cookie;
  CommandClock::time_point deadline;  ///< of the whole command
};

/// The node and the client of one command; asks by turning the io_context until the answer is
/// there, or the time is over.
class ClientSession {
 public:
  /// `arguments` must outlive it.
  explicit ClientSession(const SessionArguments& arguments)
      : arguments_(arguments), io_(std::make_unique<boost::asio::io_context>(1)) {}
  /// Ends the node's connections, for a second at most.
  ~ClientSession();
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  /// Before anything else. Errors: invalid_argument (a name that can't be one), io, unavailable.
  Result<void> open();
  /// Of a session that was opened.
  Client& client() { return *client_; }

  /// Runs `start(handler)` to its end; `late` when it has none in time.
  template <class T, class Start>
  Result<T> wait(const Error& late, Start start) {
    struct State {
      std::optional<Result<T>> result;
      bool done = false;
    };
    const auto state = std::make_shared<State>();
    start([state](Result<T> ended) {
      state->result.emplace(std::move(ended));
      state->done = true;
    });
    turn_until(state->done);
    if (!state->result) return late;
    return std::move(*state->result);
  }
  /// Until it is done, or shortly after the deadline.
  void turn_until(const bool& done);

 private:
  Result<void> start_node(const std::string& cookie, const ClientOptions& options);

  const SessionArguments& arguments_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::unique_ptr<node::Node> node_;
  std::unique_ptr<Client> client_;
};

}  // namespace rakv::kv
