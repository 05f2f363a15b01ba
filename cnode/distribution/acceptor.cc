// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/acceptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace rakv::distribution {
namespace {

/// Pause after a failed accept (no descriptors left).
constexpr std::chrono::milliseconds kAcceptRetryPause{100};

}  // namespace

Acceptor::Acceptor(boost::asio::io_context& io, Seams seams, std::chrono::milliseconds step_timeout,
                   std::size_t max_half_open)
    : io_(io),
      seams_(std::move(seams)),
      step_timeout_(step_timeout),
      max_half_open_(max_half_open),
      pause_(io) {}

Result<std::uint16_t> Acceptor::listen(const std::string& address, std::uint16_t port) {
  auto opened = Network::of(io_).listen(address, port);
  if (!opened) return opened.error();
  listener_ = std::move(*opened);
  return listener_->port();
}

void Acceptor::accept_next() {
  if (stopped_) return;
  listener_->accept([this, alive = alive_](Result<std::unique_ptr<Transport>> transport) {
    if (!*alive || stopped_) return;
    if (!transport) return accept_later(transport.error().message);
    if (const std::string why = seams_.why_full(); !why.empty()) {
      (*transport)->close();
      return accept_later(why);
    }
    fails_ = false;
    accepted(std::move(*transport));
    accept_next();
  });
}

void Acceptor::accept_later(const std::string& why) {
  if (!std::exchange(fails_, true)) seams_.note("cannot accept a connection: " + why);
  pause_.expires_after(kAcceptRetryPause);
  pause_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (!error && *alive) accept_next();
  });
}

/// A peer that means it is done within milliseconds: the oldest handshake is the one least likely
/// to come to an end. One host that only connects must not keep the others out: it is one of the
/// host with the most.
void Acceptor::drop_oldest_handshake() {
  std::map<std::string, std::size_t> of_host;
  std::size_t most = 0;
  for (const auto& [key, handshake] : inbound_) most = std::max(most, ++of_host[handshake.host]);
  const auto oldest = std::find_if(inbound_.begin(), inbound_.end(), [&](const auto& entry) {
    return of_host[entry.second.host] == most;
  });
  if (oldest == inbound_.end()) return;
  const Inbound dropped = oldest->second;
  const std::size_t under_way = inbound_.size();
  inbound_.erase(oldest);
  dropped.attempt->abort();
  const std::string reason =
      fmt::format("closed the oldest incoming connection of {}: {} handshakes are under way",
                  dropped.host, under_way);
  if (dropped.named->attempt != 0)
    seams_.on_failed(*dropped.named, make_error(ErrorCode::unavailable, reason));
  seams_.note(reason);
}

void Acceptor::accepted(std::unique_ptr<Transport> transport) {
  if (inbound_.size() >= max_half_open_) drop_oldest_handshake();
  const auto key = next_key_++;
  const auto named = std::make_shared<Named>();
  Attempt::Events handlers;
  handlers.on_name = [this, named](const Handshake::AskStatus& asks) {
    return seams_.on_name(asks, *named);
  };
  handlers.on_finished = [this, key, named](Handshake::Finished finished,
                                            std::unique_ptr<Transport> stream) {
    inbound_.erase(key);
    seams_.on_finished(named->attempt, std::move(finished), std::move(stream));
  };
  const std::string from = transport->remote_address();
  handlers.on_failed = [this, key, named, from](const Error& error) {
    inbound_.erase(key);
    if (named->attempt != 0) seams_.on_failed(*named, error);
    seams_.note(fmt::format("incoming connection from {}: {}", from, error.message));
  };
  const auto attempt = std::make_shared<Attempt>(io_, Handshake::acceptor(seams_.setup()),
                                                 step_timeout_, std::move(handlers));
  inbound_.emplace(key, Inbound{attempt, named, from.substr(0, from.rfind(':'))});
  attempt->start(std::move(transport));
}

std::vector<AttemptId> Acceptor::drop_attempts_of(const std::string& peer) {
  std::vector<AttemptId> dropped;
  std::erase_if(inbound_, [&](const auto& row) {
    const Named& named = *row.second.named;
    if (named.peer != peer || named.attempt == 0) return false;
    row.second.attempt->abort();
    dropped.push_back(named.attempt);
    return true;
  });
  return dropped;
}

void Acceptor::stop() {
  stopped_ = true;
  if (listener_) listener_->close();
  pause_.cancel();
  for (const auto& [key, handshake] : std::exchange(inbound_, {})) handshake.attempt->abort();
}

}  // namespace rakv::distribution
