// SPDX-License-Identifier: Apache-2.0
#include "kv/program/client_session.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "kv/program/node_name.h"

namespace rakv::kv {
namespace {

constexpr int kClientNames = 8;
constexpr std::chrono::milliseconds kClientStopPatience{1000};
constexpr std::chrono::milliseconds kClientNamePause{50};
/// The client ends its operations at the deadline by itself, and says why; this much later nobody
/// waits for it any more.
constexpr std::chrono::milliseconds kGrace{100};

/// A failure that is not about the arguments, a key or a lost answer, whatever it was below.
Error failure(const Error& error) { return make_error(ErrorCode::io, error.message); }

/// This program as a node: named from a small pool, because every name that a BEAM ever sees stays
/// in its atom table.
std::string client_name(int number, const std::string& server_node) {
  const std::string alive = "rakv_cli_" + std::to_string(number) + "@";
  const std::string server_host = server_node.substr(server_node.find('@') + 1);
  const std::string host = host_name();
  if (server_host.find_first_of(".:") == std::string::npos)
    return alive + host.substr(0, host.find('.'));
  if (server_host.starts_with("127.") || server_host == "::1") return alive + server_host;
  return alive + (host.find('.') == std::string::npos ? host + ".local" : host);
}

Result<std::string> server_node(const std::string& text) {
  const Result<std::string> name = peer_node_name(text);
  if (name) return *name;
  return make_error(ErrorCode::invalid_argument, "--server: " + name.error().message);
}

/// What --server was given, in pieces.
std::vector<std::string> server_names(const std::vector<std::string>& arguments) {
  std::vector<std::string> names;
  for (const std::string& argument : arguments) {
    for (std::size_t begin = 0; begin <= argument.size();) {
      const std::size_t end = std::min(argument.find(',', begin), argument.size());
      names.push_back(argument.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return names;
}

}  // namespace

ClientSession::~ClientSession() {
  if (node_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(arguments_.deadline -
                                                                            CommandClock::now());
    const auto stopped = std::make_shared<bool>(false);
    node_->stop(std::clamp(left, std::chrono::milliseconds(0), kClientStopPatience),
                [stopped] { *stopped = true; });
    turn_until(*stopped);
  }
  client_.reset();
  node_.reset();
  // A look-up of a host can't be interrupted, and the io_context would wait for its thread. It
  // stays as it is until the process ends; leak detectors see that it can be reached (volatile:
  // nobody reads it, and it must be stored all the same).
  [[maybe_unused]] static boost::asio::io_context* volatile left_behind = nullptr;
  if (CommandClock::now() >= arguments_.deadline) left_behind = io_.release();
}

Result<void> ClientSession::open() {
  ClientOptions options;
  if (const auto checked = check_cluster_name(arguments_.cluster); !checked) {
    return make_error(ErrorCode::invalid_argument, "--cluster " + checked.error().message);
  }
  for (const std::string& text : server_names(arguments_.servers)) {
    const Result<std::string> node = server_node(text);
    if (!node) return node.error();
    options.servers.emplace_back(arguments_.cluster, *node);
  }
  Result<std::string> cookie = find_cookie(arguments_.cookie, arguments_.deadline);
  if (!cookie) {
    return failure(make_error(ErrorCode::io,
                              cookie.error().message + "; or give --cookie-file (or --cookie)"));
  }
  if (const Result<void> started = start_node(*cookie, options); !started)
    return failure(started.error());
  client_ = std::make_unique<Client>(*io_, *node_, std::move(options));
  return {};
}

Result<void> ClientSession::start_node(const std::string& cookie, const ClientOptions& options) {
  const Error late = make_error(ErrorCode::unavailable,
                                "epmd of this host has not answered in time: check that it runs "
                                "(epmd -names), or give more --timeout");
  for (int number = 1;; number = number % kClientNames + 1) {
    node::NodeOptions node_options;
    node_options.name = client_name(number, options.servers.front().node());
    node_options.cookie = cookie;
    node_options.visible = false;
    node_options.listen_address = "127.0.0.1";
    auto node = std::make_unique<node::Node>(*io_, std::move(node_options));
    Result<void> started = wait<void>(late, [&](auto handler) { node->start(std::move(handler)); });
    if (started) {
      node_ = std::move(node);
      node_->accept_peers();
      return {};
    }
    if (started.error().code != ErrorCode::already_exists) return started;
    if (number < kClientNames) continue;
    if (CommandClock::now() > arguments_.deadline) {
      return make_error(ErrorCode::unavailable,
                        "all names rakv_cli_1 to rakv_cli_8 are in use on this host: wait until "
                        "other rakv commands have ended");
    }
    const auto over = std::make_shared<bool>(false);
    boost::asio::steady_timer pause(*io_, kClientNamePause);
    pause.async_wait([over](boost::system::error_code) { *over = true; });
    turn_until(*over);
  }
}

void ClientSession::turn_until(const bool& done) {
  const CommandClock::time_point end = arguments_.deadline + kGrace;
  while (!done && CommandClock::now() < end) {
    if (io_->run_one_until(end) == 0 && io_->stopped()) io_->restart();
  }
}

}  // namespace rakv::kv
