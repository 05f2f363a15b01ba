// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/endpoint.h"

#include <boost/asio/post.hpp>
#include <set>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/base/clock.h"
#include "cnode/distribution/acceptor.h"
#include "cnode/distribution/attempt.h"
#include "cnode/distribution/challenges.h"
#include "cnode/distribution/network.h"

namespace rakv::distribution {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

/// What a name given to a peer has before the @, as net_kernel makes it: 64 random bits in base 36.
std::string random_alive_name(Randomness& randomness) {
  std::uint64_t number = randomness();
  std::string name;
  for (; number > 0 || name.empty(); number /= 36) {
    name += "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 36];
  }
  return name;
}

Error with_peer(const std::string& peer, const Error& error) {
  return make_error(error.code, "connecting with " + peer + ": " + error.message);
}

}  // namespace

/// What an Endpoint is made of. Handlers of pending operations hold it by shared_ptr and do nothing
/// once stopped_.
struct Endpoint::Impl : std::enable_shared_from_this<Endpoint::Impl> {
  using Done = std::function<void(Result<void>)>;

  /// Those who wait for a connection with one peer, and the own attempt that runs for them.
  struct Dialling {
    explicit Dialling(asio::io_context& context) : window(context), deadline(context) {}
    AttemptId attempt = 0;
    bool waits = false;    ///< for the peer's own attempt
    bool claimed = false;  ///< it waits because attempts in the peer's name were here first
    bool waited = false;   ///< it has waited once, and does not begin again
    std::vector<Done> waiting;
    std::shared_ptr<Attempt> handshake;  ///< once the socket is open
    std::shared_ptr<Network::Connecting> connecting;
    Timer window;    ///< how long we wait for the peer's own attempt
    Timer deadline;  ///< while looking up and connecting
  };

  Impl(asio::io_context& context, EndpointOptions given, Events handlers)
      : io(context),
        options(std::move(given)),
        events(std::move(handlers)),
        network(Network::of(context)),
        acceptor(context, acceptor_seams(), options.step_timeout, options.max_half_open),
        table(options.node_name) {}

  // Listening

  Result<std::uint16_t> listen() {
    if (options.cookie.empty()) {
      return make_error(ErrorCode::invalid_argument,
                        "cannot listen without a cookie: anybody could be let in");
    }
    return acceptor.listen(options.listen_address, options.listen_port);
  }

  Acceptor::Seams acceptor_seams() {
    return {
        [this] { return setup(options.cookie); },
        [this] { return why_full(); },
        [this](const Handshake::AskStatus& asks, Acceptor::Named& named) {
          return inbound_named(asks, named);
        },
        [this](AttemptId attempt, Handshake::Finished finished,
               std::unique_ptr<Transport> transport) {
          handshake_finished(attempt, std::move(finished), std::move(transport));
        },
        [this](const Acceptor::Named& named, const Error& error) { inbound_failed(named, error); },
        [this](const std::string& line) { note(line); }};
  }

  /// Why no further connection may be taken in; empty when one may.
  std::string why_full() const {
    const std::string connected = std::to_string(connections.size()) + " peers are connected, and ";
    if (connections.size() >= options.max_connections)
      return connected + "no descriptor may be taken for another one (ulimit -n)";
    const std::shared_ptr<PeerMemory>& memory = options.connection.memory;
    if (memory && !memory->has_room_for_connection()) {
      return connected +
             "there is no memory for another one; give this node a larger --memory-budget";
    }
    return {};
  }

  Attempt::StatusAnswer inbound_named(const Handshake::AskStatus& asks, Acceptor::Named& named) {
    std::string name = asks.peer.name;
    std::optional<Attempt::GivenName> given;
    if (asks.wants_name) {
      do name = random_alive_name(randomness) + "@" + asks.peer.name;
      while (table.knows(name));
      given = Attempt::GivenName{name, random_creation(randomness)};
    }
    const ConnectionTable::InboundAnswer decision = table.inbound_named(name);
    named = {name, decision.attempt};
    return {decision.status, cookie_for(name), std::move(given)};
  }

  // Dialling

  /// An attempt of a peer has failed; those who waited for it and no other need not wait any
  /// longer.
  void inbound_failed(const Acceptor::Named& named, const Error& error) {
    table.attempt_failed(named.peer, named.attempt);
    const auto found = diallings.find(named.peer);
    if (found == diallings.end() || !found->second.waits || table.inbound_under_way(named.peer))
      return;
    wait_over(named.peer, with_peer(named.peer, error));
  }

  void dial(const std::string& peer, Done done) {
    const Result<NodeName> name = parse_node_name(peer);
    if (!name || peer == options.node_name) {
      const Error error = !name ? name.error()
                                : make_error(ErrorCode::invalid_argument,
                                             "a node cannot connect with itself (" + peer + ")");
      return asio::post(io, [done = std::move(done), error] { done(error); });
    }
    const ConnectionTable::DialAnswer answer = table.begin_dial(peer);
    if (answer.verdict == ConnectionTable::Dial::up) {
      return asio::post(io, [done = std::move(done)] { done({}); });
    }
    Dialling& dialling = diallings.try_emplace(peer, io).first->second;
    dialling.waiting.push_back(std::move(done));
    if (answer.verdict == ConnectionTable::Dial::under_way) return;
    dialling.window.cancel();
    dialling.waits = dialling.waited = false;
    dialling.attempt = answer.attempt;
    dialling.claimed = answer.verdict == ConnectionTable::Dial::wait;
    if (dialling.claimed) return wait_for_inbound(peer);
    begin_attempt(peer, answer.attempt);
  }

  void begin_attempt(const std::string& peer, AttemptId attempt) {
    const Result<NodeName> name = parse_node_name(peer);
    if (options.fixed_peer_port != 0) {
      return resolve_and_connect(peer, attempt, name->host, options.fixed_peer_port);
    }
    epmd::Options lookup_options = options.epmd;
    lookup_options.deadline = options.step_timeout;
    epmd::lookup(io, lookup_options, name->alive, name->host,
                 [self = shared_from_this(), peer, attempt](Result<epmd::NodeAddress> found) {
                   if (!self->running(peer, attempt)) return;
                   if (!found) return self->dial_failed(peer, attempt, found.error());
                   self->resolve_and_connect(peer, attempt, found->address, found->port);
                 });
  }

  /// The dialling of `peer` if it is still about `attempt`, else null.
  Dialling* dialling_of(const std::string& peer, AttemptId attempt) {
    const auto found = diallings.find(peer);
    if (stopped || found == diallings.end() || found->second.attempt != attempt) return nullptr;
    return &found->second;
  }

  /// As dialling_of; null also when the attempt has been given up and only the wait for the peer's
  /// own goes on.
  Dialling* running(const std::string& peer, AttemptId attempt) {
    Dialling* dialling = dialling_of(peer, attempt);
    return dialling == nullptr || dialling->waits ? nullptr : dialling;
  }

  void resolve_and_connect(const std::string& peer, AttemptId attempt, const std::string& host,
                           std::uint16_t port) {
    Dialling* dialling = running(peer, attempt);
    if (dialling == nullptr) return;
    dialling->deadline.expires_after(options.step_timeout);
    dialling->deadline.async_wait([self = shared_from_this(), peer, attempt](error_code error) {
      if (error || self->running(peer, attempt) == nullptr) return;
      self->dial_failed(peer, attempt, make_error(ErrorCode::timeout, "its host does not answer"));
    });
    dialling->connecting = network.connect(
        host, port,
        [self = shared_from_this(), peer, attempt](Result<std::unique_ptr<Transport>> transport) {
          Dialling* running = self->running(peer, attempt);
          if (running == nullptr) return;
          if (transport) {
            running->deadline.cancel();
            return self->shake_hands(peer, attempt, std::move(*transport));
          }
          const Error& error = transport.error();
          self->dial_failed(peer, attempt,
                            make_error(ErrorCode::unavailable,
                                       error.code == ErrorCode::not_found
                                           ? "cannot resolve its host: " + error.message
                                           : "it does not listen (" + error.message + ")"));
        });
  }

  void shake_hands(const std::string& peer, AttemptId attempt,
                   std::unique_ptr<Transport> transport) {
    Attempt::Events handlers;
    handlers.on_alive = [this, peer] { return table.old_connection_is_dead(peer); };
    handlers.on_chosen = [this, peer] { drop_inbound_of(peer); };
    handlers.on_nok = [this, peer, attempt] {
      table.dial_waits(peer, attempt);
      wait_for_inbound(peer);
    };
    handlers.on_finished = [this, attempt](Handshake::Finished finished,
                                           std::unique_ptr<Transport> stream) {
      handshake_finished(attempt, std::move(finished), std::move(stream));
    };
    handlers.on_failed = [this, peer, attempt](const Error& error) {
      dial_failed(peer, attempt, error);
    };
    const auto handshake =
        std::make_shared<Attempt>(io, Handshake::initiator(setup(cookie_for(peer)), peer),
                                  options.step_timeout, std::move(handlers));
    running(peer, attempt)->handshake = handshake;
    handshake->start(std::move(transport));
  }

  /// `peer` has given up the attempts of its own that are under way here, and must not be told that
  /// one of them has succeeded.
  void drop_inbound_of(const std::string& peer) {
    for (const AttemptId attempt : acceptor.drop_attempts_of(peer))
      table.attempt_failed(peer, attempt);
  }

  void dial_failed(const std::string& peer, AttemptId attempt, const Error& error) {
    Dialling* dialling = running(peer, attempt);
    if (dialling != nullptr && table.inbound_under_way(peer)) {
      // The peer may be connecting with us at this very moment.
      dialling->waited = true;
      table.dial_waits(peer, attempt);
      return wait_for_inbound(peer);
    }
    table.attempt_failed(peer, attempt);
    if (dialling != nullptr) resolve_dialling(peer, with_peer(peer, error));
  }

  /// Ends the own attempt, but not the waiting: the peer's own attempt is on its way, or should be.
  void wait_for_inbound(const std::string& peer) {
    const auto found = diallings.find(peer);
    if (found == diallings.end()) return;
    Dialling& dialling = found->second;
    give_up_attempt(dialling);
    dialling.waits = true;
    dialling.window.expires_after(options.inbound_window);
    dialling.window.async_wait([self = shared_from_this(), peer,
                                attempt = dialling.attempt](error_code error) {
      if (error || self->dialling_of(peer, attempt) == nullptr) return;
      self->wait_over(peer, make_error(ErrorCode::timeout,
                                       "connecting with " + peer +
                                           ": it prefers its own attempt to ours, but that never "
                                           "came; dial again"));
    });
  }

  /// No connection has come of the wait. Anybody may have made the attempts that we waited for,
  /// so we wait for them only once.
  void wait_over(const std::string& peer, const Error& error) {
    Dialling& dialling = diallings.at(peer);
    const bool begins = !dialling.waited && (dialling.claimed || table.inbound_under_way(peer));
    table.inbound_window_over(peer, dialling.attempt);
    if (!begins) return resolve_dialling(peer, error);
    dialling.window.cancel();
    dialling.waits = dialling.claimed = false;
    dialling.waited = true;
    dialling.attempt = table.begin_dial(peer, ConnectionTable::Claims::ignore).attempt;
    begin_attempt(peer, dialling.attempt);
  }

  static void give_up_attempt(Dialling& dialling) {
    dialling.deadline.cancel();
    if (dialling.connecting) dialling.connecting->cancel();
    if (const auto handshake = std::exchange(dialling.handshake, nullptr)) handshake->abort();
  }

  /// Tells all who wait for `peer`, from the io_context.
  void resolve_dialling(const std::string& peer, const Result<void>& result) {
    const auto found = diallings.find(peer);
    if (found == diallings.end()) return;
    give_up_attempt(found->second);
    found->second.window.cancel();
    asio::post(io, [waiting = std::move(found->second.waiting), result] {
      for (const Done& done : waiting) done(result);
    });
    diallings.erase(found);
  }

  // Connections

  void handshake_finished(AttemptId attempt, Handshake::Finished finished,
                          std::unique_ptr<Transport> transport) {
    const std::string peer = finished.peer.name;
    const ConnectionTable::UpAnswer answer = table.handshake_finished(peer, attempt);
    if (!answer.keep) {
      transport->close();
      return;
    }
    if (answer.drop_connection) {
      // Taken out first: its place in the table is the new connection's already.
      const std::shared_ptr<Connection> old = std::exchange(connections[peer], nullptr);
      if (old) {
        old->close(
            make_error(ErrorCode::unavailable,
                       peer + " has connected anew: it was restarted or lost the old connection"));
      }
    }
    auto gone = [weak = weak_from_this(), peer, attempt] {
      if (const auto self = weak.lock()) self->connection_gone(peer, attempt);
    };
    const auto connection =
        std::make_shared<Connection>(io, std::move(transport), std::move(finished.peer),
                                     finished.leftover, options.connection, std::move(gone));
    connections[peer] = connection;
    connection->hold(holds.contains(peer));
    // Posted, so that on_closed of the old connection, which is posted too, comes before.
    asio::post(io, [self = shared_from_this(), connection] {
      if (self->stopped || self->is_replaced(*connection)) return;
      if (self->events.on_up) self->events.on_up(connection);
    });
    resolve_dialling(peer, {});
  }

  /// Whether a later attempt has taken its place. One that nobody has heard of by then is not
  /// announced any more: its end would be told after the beginning of its successor, and would
  /// clear what is that one's.
  bool is_replaced(const Connection& connection) const {
    const auto found = connections.find(connection.peer().name);
    return connection.closed() && found != connections.end() && found->second.get() != &connection;
  }

  void connection_gone(const std::string& peer, AttemptId attempt) {
    if (table.up(peer) == attempt) connections.erase(peer);
    table.connection_closed(peer, attempt);
  }

  void hold(const std::string& peer, std::chrono::milliseconds time) {
    Timer& timer = holds.try_emplace(peer, io).first->second;
    timer.expires_after(time);
    timer.async_wait([self = shared_from_this(), peer](error_code error) {
      if (!error && !self->stopped) self->release(peer);
    });
    hold_connection(peer, true);
  }

  void release(const std::string& peer) {
    holds.erase(peer);
    hold_connection(peer, false);
  }

  void hold_connection(const std::string& peer, bool held) {
    const auto found = connections.find(peer);
    if (found != connections.end() && found->second) found->second->hold(held);
  }

  void stop() {
    if (std::exchange(stopped, true)) return;
    acceptor.stop();
    holds.clear();
    while (!diallings.empty()) {
      resolve_dialling(diallings.begin()->first,
                       make_error(ErrorCode::unavailable, "this node is stopping"));
    }
    for (const auto& [peer, connection] : std::exchange(connections, {})) {
      if (connection)
        connection->close(make_error(ErrorCode::unavailable, "this node is stopping"));
    }
  }

  // What all of these need

  HandshakeSetup setup(const std::string& cookie) const {
    HandshakeSetup made;
    made.own_name = options.node_name;
    made.own_creation = options.creation;
    made.own_flags = options.flags;
    made.cookie = cookie;
    const std::shared_ptr<const Challenges::Own> own = challenges->draw();
    made.own_challenge = own->value();
    made.may_answer = [own, book = challenges](std::uint32_t challenge) {
      return book->answer(challenge);
    };
    return made;
  }

  std::string cookie_for(const std::string& peer) const {
    const auto own = options.peer_cookies.find(peer);
    return own == options.peer_cookies.end() ? options.cookie : own->second;
  }

  void note(const std::string& line) const {
    if (!stopped && events.on_note) events.on_note(line);
  }

  asio::io_context& io;
  EndpointOptions options;
  Events events;
  Network& network;
  Acceptor acceptor;
  ConnectionTable table;
  Randomness& randomness = Randomness::of(io);
  std::shared_ptr<Challenges> challenges = std::make_shared<Challenges>(randomness);
  std::map<std::string, Dialling> diallings;
  std::map<std::string, std::shared_ptr<Connection>, std::less<>> connections;
  std::map<std::string, Timer> holds;
  bool stopped = false;
};

Endpoint::Endpoint(asio::io_context& io, EndpointOptions options, Events events)
    : impl_(std::make_shared<Impl>(io, std::move(options), std::move(events))) {}

Endpoint::~Endpoint() { impl_->stop(); }

Result<std::uint16_t> Endpoint::listen() { return impl_->listen(); }

void Endpoint::accept_peers() {
  RAKV_CHECK_MSG(impl_->options.creation >= 4, "set_creation() comes before accept_peers()");
  impl_->acceptor.accept_next();
}

void Endpoint::set_creation(std::uint32_t creation) { impl_->options.creation = creation; }

void Endpoint::dial(const std::string& peer, std::function<void(Result<void>)> done) {
  RAKV_CHECK_MSG(impl_->options.creation >= 4, "set_creation() comes before dial()");
  impl_->dial(peer, std::move(done));
}

std::shared_ptr<Connection> Endpoint::connection(std::string_view peer) const {
  const auto found = impl_->connections.find(peer);
  return found == impl_->connections.end() ? nullptr : found->second;
}

std::vector<std::string> Endpoint::connected_peers() const {
  std::vector<std::string> peers;
  for (const auto& [peer, connection] : impl_->connections) peers.push_back(peer);
  return peers;
}

void Endpoint::disconnect(const std::string& peer, const std::string& reason) {
  if (const std::shared_ptr<Connection> open = connection(peer)) {
    open->close(make_error(ErrorCode::unavailable, reason));
  }
}

void Endpoint::hold(const std::string& peer, std::chrono::milliseconds time) {
  impl_->hold(peer, time);
}

void Endpoint::release(const std::string& peer) { impl_->release(peer); }

std::size_t Endpoint::half_open() const { return impl_->acceptor.half_open(); }

void Endpoint::stop() { impl_->stop(); }

}  // namespace rakv::distribution
