// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/wait.h>

#include <boost/asio/post.hpp>
#include <utility>

#include "cnode/base/clock.h"
#include "cnode/distribution/epmd.h"
#include "cnode/distribution/epmd_daemon.h"
#include "cnode/distribution/network.h"

namespace rakv::distribution::epmd {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::chrono::milliseconds kDaemonRetryInterval{50};
constexpr int kDaemonRetries = 40;
/// A node registers with the epmd of its own host.
constexpr char kLoopback[] = "127.0.0.1";

/// One request to the epmd of a host and its answer, under one deadline. Keeps itself alive until
/// it has reported.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  /// Gets all bytes so far; returns true when it has what it wants (or has reported an error
  /// itself).
  using Feed = std::function<bool(std::string_view bytes, bool at_end, const std::string& address)>;

  Exchange(asio::io_context& io, const Options& options, std::string host, std::string request,
           Feed feed, std::function<void(Error)> fail)
      : network_(Network::of(io)),
        deadline_(io),
        options_(options),
        host_(std::move(host)),
        request_(std::move(request)),
        feed_(std::move(feed)),
        fail_(std::move(fail)) {}

  void run() {
    deadline_.expires_after(options_.deadline);
    deadline_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->time_out();
    });
    connecting_ =
        network_.connect(host_, options_.port,
                         [self = shared_from_this()](Result<std::unique_ptr<Transport>> transport) {
                           self->connected(std::move(transport));
                         });
  }

 private:
  void connected(Result<std::unique_ptr<Transport>> transport) {
    if (over_) return;
    if (!transport && transport.error().code == ErrorCode::not_found)
      return fail(ErrorCode::unavailable, "cannot resolve it: " + transport.error().message);
    if (!transport) {
      return fail(ErrorCode::unavailable, "nothing listens there (" + transport.error().message +
                                              "): is an Erlang or rakv node running on that host?");
    }
    transport_ = std::move(*transport);
    const std::string remote = transport_->remote_address();
    address_ = remote.substr(0, remote.rfind(':'));
    transport_->write_all({request_},
                          [self = shared_from_this()](const Result<std::size_t>& written) {
                            if (!written)
                              return self->fail(ErrorCode::unavailable, written.error().message);
                            self->read();
                          });
  }

  void read() {
    transport_->read_some(piece_, [self = shared_from_this()](const Result<std::size_t>& count) {
      self->received(count);
    });
  }

  void received(const Result<std::size_t>& count) {
    if (over_) return;
    const bool at_end = !count && count.error().code == ErrorCode::unavailable;
    if (!count && !at_end) return fail(ErrorCode::unavailable, count.error().message);
    if (count) answer_.append(piece_, *count);
    if (answer_.size() > kMaxReplyBytes) return fail(ErrorCode::malformed, "its answer never ends");
    if (feed_(answer_, at_end, address_)) return finish();
    if (at_end) return fail(ErrorCode::unavailable, "it closed without an answer");
    read();
  }

  void time_out() {
    fail(ErrorCode::timeout, "no answer in " + std::to_string(options_.deadline.count()) + " ms");
  }

  void fail(ErrorCode code, const std::string& why) {
    if (over_) return;
    finish();
    fail_(make_error(code, fmt::format("epmd of {} (port {}): {}", host_, options_.port, why)));
  }

  void finish() {
    over_ = true;
    connecting_->cancel();
    if (transport_) transport_->close();
    deadline_.cancel();
  }

  Network& network_;
  std::shared_ptr<Network::Connecting> connecting_;
  std::unique_ptr<Transport> transport_;
  Timer deadline_;
  Options options_;
  std::string host_;
  std::string request_;
  Feed feed_;
  std::function<void(Error)> fail_;
  std::string address_;
  std::string answer_;
  char piece_[4096];
  bool over_ = false;
};

}  // namespace

void lookup(asio::io_context& io, const Options& options, const std::string& alive_name,
            std::string host, const std::function<void(Result<NodeAddress>)>& done) {
  Result<std::string> request = encode_lookup(alive_name);
  if (!request) {
    asio::post(io, [done, error = request.error()] { done(error); });
    return;
  }
  auto feed = [done, alive_name](std::string_view bytes, bool at_end, const std::string& address) {
    const Result<std::optional<std::uint16_t>> port =
        decode_lookup_reply(bytes, at_end, alive_name);
    if (!port) {
      done(port.error());
      return true;
    }
    if (!*port) return false;
    done(NodeAddress{address, **port});
    return true;
  };
  std::make_shared<Exchange>(io, options, std::move(host), std::move(*request), std::move(feed),
                             [done](Error error) { done(std::move(error)); })
      ->run();
}

void names(asio::io_context& io, const Options& options, std::string host,
           const std::function<void(Result<std::vector<NamedPort>>)>& done) {
  auto feed = [done](std::string_view bytes, bool at_end, const std::string&) {
    if (!at_end) return false;
    done(decode_names_reply(bytes));
    return true;
  };
  std::make_shared<Exchange>(io, options, std::move(host), encode_names(), std::move(feed),
                             [done](Error error) { done(std::move(error)); })
      ->run();
}

// Registrar

/// What the registrar is doing. Every try has a number, so that the handlers of an abandoned one do
/// nothing.
struct Registrar::State : std::enable_shared_from_this<Registrar::State> {
  State(asio::io_context& context, Options given)
      : io(context), network(Network::of(context)), options(std::move(given)), timer(context) {}

  void try_now() {
    const std::uint64_t number = ++current_try;
    answer.clear();
    transport.reset();
    timer.expires_after(options.deadline);
    timer.async_wait([self = shared_from_this(), number](error_code error) {
      if (!error) self->failed(number, ErrorCode::timeout, "it does not answer");
    });
    connecting = network.connect(
        kLoopback, options.port,
        [self = shared_from_this(), number](Result<std::unique_ptr<Transport>> open) {
          if (number != self->current_try) return;
          if (!open) return self->failed(number, ErrorCode::unavailable, open.error().message);
          self->transport = std::move(*open);
          self->send_request(number);
        });
  }

  void send_request(std::uint64_t number) {
    transport->write_all(
        {request}, [self = shared_from_this(), number](const Result<std::size_t>& written) {
          if (number != self->current_try) return;
          if (!written)
            return self->failed(number, ErrorCode::unavailable, written.error().message);
          self->read(number);
        });
  }

  void read(std::uint64_t number) {
    transport->read_some(piece,
                         [self = shared_from_this(), number](const Result<std::size_t>& count) {
                           if (number == self->current_try) self->received(number, count);
                         });
  }

  void received(std::uint64_t number, const Result<std::size_t>& count) {
    if (!count && registered)
      return failed(number, ErrorCode::unavailable, "it closed the connection");
    if (!count) {
      return failed(number, ErrorCode::malformed,
                    "epmd closed the connection in the middle of our registration: is something "
                    "else listening on port " +
                        std::to_string(options.port) + " (see ERL_EPMD_PORT)?");
    }
    // epmd has nothing to say to us; only the end of the stream matters.
    if (registered) return failed(number, ErrorCode::malformed, "it sent what nobody asked for");
    answer.append(piece, *count);
    const Result<std::optional<std::uint32_t>> creation =
        decode_register_reply(answer, registration.alive_name);
    if (!creation) return failed(number, creation.error().code, creation.error().message);
    if (!*creation) return read(number);
    timer.cancel();
    registered = true;
    reap_daemon_soon();
    if (std::exchange(succeeded_once, true)) {
      // The creation stays what it was: pids of this life are out in the world with it.
      note("registered again with epmd as " + registration.alive_name);
    } else {
      std::exchange(done, nullptr)(**creation);
    }
    if (number == current_try && registered) read(number);
  }

  void failed(std::uint64_t number, ErrorCode code, const std::string& why) {
    if (number != current_try) return;
    ++current_try;
    const bool was_registered = std::exchange(registered, false);
    hang_up();
    timer.cancel();
    if (succeeded_once) {
      if (was_registered || code == ErrorCode::already_exists) {
        note(fmt::format("no longer registered with epmd ({}); trying again every {} ms", why,
                         options.reregister_interval.count()));
      }
      return retry_after(options.reregister_interval);
    }
    if (code == ErrorCode::unavailable && may_wait_for_daemon())
      return retry_after(kDaemonRetryInterval);
    reap_daemon();
    if (code == ErrorCode::already_exists || code == ErrorCode::malformed)
      return report(make_error(code, why));
    const std::string how_to_help =
        daemon_error.empty()
            ? "; start it with epmd -daemon, or set ERL_EPMD_PORT if it listens elsewhere"
            : "; " + daemon_error + "; start it with epmd -daemon";
    report(make_error(code, fmt::format("cannot register with epmd on port {}: {}{}", options.port,
                                        why, how_to_help)));
  }

  /// Starts epmd at the first refusal; true while it may still be coming up.
  bool may_wait_for_daemon() {
    if (!options.start_daemon || daemon_retries_left == 0) return false;
    if (daemon_retries_left == kDaemonRetries) {
      const Result<pid_t> started = epmd::start_daemon(options);
      if (!started) {
        daemon_error = started.error().message;
        return false;
      }
      daemon = *started;
    }
    --daemon_retries_left;
    return true;
  }

  void reap_daemon() {
    if (daemon > 0 && ::waitpid(daemon, nullptr, WNOHANG) != 0) daemon = -1;
  }

  /// epmd's parent process ends right after it has become a daemon; till it is reaped it is a
  /// zombie.
  void reap_daemon_soon() {
    reap_daemon();
    if (daemon <= 0) return;
    timer.expires_after(kDaemonRetryInterval);
    timer.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->reap_daemon_soon();
    });
  }

  void retry_after(std::chrono::milliseconds pause) {
    const std::uint64_t number = current_try;
    timer.expires_after(pause);
    timer.async_wait([self = shared_from_this(), number](error_code error) {
      if (error || number != self->current_try) return;
      self->reap_daemon();
      self->try_now();
    });
  }

  void report(Error error) {
    if (done) std::exchange(done, nullptr)(std::move(error));
  }

  void note(const std::string& line) {
    if (event_handler) event_handler(line);
  }

  void hang_up() {
    if (connecting) connecting->cancel();
    if (transport) transport->close();
  }

  void stop() {
    ++current_try;
    registered = false;
    hang_up();
    timer.cancel();
    done = nullptr;
    event_handler = nullptr;
    reap_daemon();
  }

  asio::io_context& io;
  Network& network;
  Options options;
  std::shared_ptr<Network::Connecting> connecting;
  std::unique_ptr<Transport> transport;
  Timer timer;
  Registration registration;
  std::string request;
  std::string answer;
  char piece[64];
  std::function<void(Result<std::uint32_t>)> done;
  std::function<void(const std::string&)> event_handler;
  std::uint64_t current_try = 0;
  bool registered = false;
  bool succeeded_once = false;
  int daemon_retries_left = kDaemonRetries;
  pid_t daemon = -1;
  std::string daemon_error;
};

Registrar::Registrar(asio::io_context& io, Options options)
    : state_(std::make_shared<State>(io, std::move(options))) {}

Registrar::~Registrar() { state_->stop(); }

void Registrar::start(Registration registration, std::function<void(Result<std::uint32_t>)> done) {
  Result<std::string> request = encode_register(registration);
  if (!request) {
    asio::post(state_->io, [done = std::move(done), error = request.error()] { done(error); });
    return;
  }
  state_->registration = std::move(registration);
  state_->request = std::move(*request);
  state_->done = std::move(done);
  state_->try_now();
}

void Registrar::on_event(std::function<void(const std::string&)> handler) {
  state_->event_handler = std::move(handler);
}

void Registrar::stop() { state_->stop(); }

bool Registrar::registered() const { return state_->registered; }

}  // namespace rakv::distribution::epmd
