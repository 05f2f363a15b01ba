// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"

// The port mapper of Erlang nodes: which port does node `name` of this host listen on? First the
// bytes, then a client. Source: OTP `erl_epmd.erl`, `epmd_srv.c`; docs/protocol/distribution.md 1.
// Replies of epmd have no length prefix.

namespace rakv::distribution::epmd {

/// epmd's port when ERL_EPMD_PORT says nothing.
inline constexpr std::uint16_t kDefaultPort = 4369;
/// Longest alive name that epmd takes, in bytes.
inline constexpr std::size_t kMaxAliveNameBytes = 255;
/// Most bytes we read of one reply; epmd's longest real one is the list of names.
inline constexpr std::size_t kMaxReplyBytes = 1 << 20;

/// The port of epmd: $ERL_EPMD_PORT if it is a number 1..65535, else 4369.
std::uint16_t port_from_environment();

/// What a node tells epmd of itself.
struct Registration {
  std::string alive_name;  ///< the part before '@'
  std::uint16_t listen_port = 0;
  bool visible = true;  ///< type 'M', else 'H'
};

// The codec.

/// ALIVE2_REQ with its length. Error `invalid_argument`: empty or too long a name.
Result<std::string> encode_register(const Registration& registration);
/// PORT_PLEASE2_REQ with its length.
Result<std::string> encode_lookup(std::string_view alive_name);
/// NAMES_REQ with its length.
std::string encode_names();

/// The creation in an ALIVE2 reply (1 to 3 from an epmd before OTP 23, never 0), nothing while the
/// reply is incomplete. Errors: `already_exists` (name taken), `malformed`.
Result<std::optional<std::uint32_t>> decode_register_reply(std::string_view bytes,
                                                           std::string_view alive_name);
/// The port in a PORT2 reply; `at_end` says that epmd has closed. Nothing while incomplete. Error
/// `not_found`: no such node is registered; `unsupported`: it speaks no distribution version that
/// we speak.
Result<std::optional<std::uint16_t>> decode_lookup_reply(std::string_view bytes, bool at_end,
                                                         std::string_view alive_name);
/// The registered nodes in a complete NAMES reply.
struct NamedPort {
  std::string alive_name;
  std::uint16_t port = 0;
};
Result<std::vector<NamedPort>> decode_names_reply(std::string_view bytes);

// The client.

/// How to reach epmd, and how to start it.
struct Options {
  std::uint16_t port = port_from_environment();
  std::chrono::milliseconds deadline{5000};             ///< for one whole exchange
  std::chrono::milliseconds reregister_interval{2000};  ///< between tries after epmd died
  bool start_daemon = true;                             ///< run `epmd -daemon` when nobody listens
  std::string daemon_path;  ///< tried first; then $PATH, $BINDIR and /usr/lib/erlang/erts-*/bin
};

/// The places where `epmd` is looked for, in order; only existing executables are returned.
std::vector<std::string> daemon_candidates(const Options& options);

/// Keeps this node registered: holds the connection open, registers again (same name, port and
/// creation) when epmd dies. One per node; not movable. Callbacks come from the io_context, never
/// from inside a call.
class Registrar {
 public:
  Registrar(boost::asio::io_context& io, Options options);
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  /// Registers; `done` gets the creation, or `already_exists` (name taken), `unavailable` (no epmd
  /// and none could be started), `malformed` (what listens there is no epmd), `timeout`. After a
  /// first success failures are retried for ever and only
  /// reported to on_event.
  void start(Registration registration, std::function<void(Result<std::uint32_t>)> done);
  /// One line for the log whenever the registration is lost or won back.
  void on_event(std::function<void(const std::string&)> handler);
  /// Gives the name back (closes the connection).
  void stop();
  /// True while epmd holds our registration.
  bool registered() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Where a node listens.
struct NodeAddress {
  std::string address;  ///< numeric IPv4 or IPv6 address that epmd answered on
  std::uint16_t port = 0;
};

/// Asks the epmd of `host` for `alive_name`. `host` is resolved as written. `done` gets the
/// endpoint, or `not_found`, `unavailable` (host unknown, no epmd there), `timeout`; it is called
/// exactly once, from the io_context.
void lookup(boost::asio::io_context& io, const Options& options, const std::string& alive_name,
            std::string host, const std::function<void(Result<NodeAddress>)>& done);

/// Asks the epmd of `host` for all its names.
void names(boost::asio::io_context& io, const Options& options, std::string host,
           const std::function<void(Result<std::vector<NamedPort>>)>& done);

}  // namespace rakv::distribution::epmd
