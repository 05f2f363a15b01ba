// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cnode/base/randomness.h"
#include "cnode/base/result.h"
#include "cnode/distribution/flags.h"

// The handshake of the Erlang distribution, version 6, both roles, as a pure machine: bytes and
// decisions in, actions out. As acceptor it takes what OTP 25 to 29 take: also a name in the form
// of version 5 with a complement after the challenge, and a peer that wants to be given a name. It
// owns no socket, no timer and no randomness. Source: OTP `dist_util.erl`,
// docs/protocol/distribution.md 2.

namespace rakv::distribution {

/// MD5 of the cookie followed by the challenge in decimal.
using Digest = std::array<std::uint8_t, 16>;

/// The answer to `challenge` by one who knows `cookie`.
Digest digest(std::string_view cookie, std::uint32_t challenge);

/// True when both are equal; takes the same time wherever they differ.
bool digests_equal(const Digest& a, const Digest& b);

/// 32 bits that nobody can predict, from OpenSSL's generator. Aborts if the system has no entropy.
std::uint32_t random_challenge(Randomness& randomness);

/// A creation for a node that runs without epmd: random, at least 4 (lower values are reserved).
std::uint32_t random_creation(Randomness& randomness);

/// Width of the length before every handshake message: 2 over TCP, 4 inside TLS.
enum class LengthWidth : std::uint8_t { two = 2, four = 4 };

/// No handshake message of a well-behaved node comes near this; a longer announced length is an
/// error at once.
inline constexpr std::size_t kMaxHandshakeMessageBytes = 4096;

/// Longest node name accepted, in bytes.
inline constexpr std::size_t kMaxNodeNameBytes = 1020;

/// Parts of `name@host`. Error `malformed`: not exactly one '@', an empty part, a control character
/// or too long.
struct NodeName {
  std::string alive;
  std::string host;
};
Result<NodeName> parse_node_name(std::string_view full_name);

/// What the acceptor says to the initiator's name.
enum class Status {
  ok,               ///< go on
  ok_simultaneous,  ///< go on; we have dropped our own attempt to you
  nok,              ///< we keep our own attempt to you: wait for it
  not_allowed,      ///< flags or name are not welcome
  alive,            ///< we think that a connection with you is up: is that one dead?
};

/// Who we are and what we expect, for one handshake.
struct HandshakeSetup {
  std::string own_name;            ///< name@host
  std::uint32_t own_creation = 0;  ///< incarnation of this node, >= 4
  Flags own_flags = kOfferedFlags;
  Flags demanded_flags = kDemandedFlags;
  std::string cookie;               ///< the acceptor may give another one with its decision
  std::uint32_t own_challenge = 0;  ///< Challenges::draw(), except in tests
  /// Initiator: whether we may answer a challenge of one who has proved nothing yet. No for our own
  /// outstanding ones, which would be reflected to us (Challenges::answer()). Unset: always.
  std::function<bool(std::uint32_t challenge)> may_answer;
  LengthWidth width = LengthWidth::two;
};

/// Who the peer is, as learnt in a handshake.
struct PeerIdentity {
  std::string name;
  Flags flags = 0;             ///< in force: offered by both sides
  std::uint32_t creation = 0;  ///< incarnation of the peer
};

/// One state machine per connection attempt. Every call returns the actions the owner must carry
/// out, in order.
///
/// Initiator: start() sends the name. Acceptor: start() returns nothing. Then feed() whatever
/// arrives until Finished or Failed came out; afterwards feed() may not be called again. AskStatus
/// and AskAlive stop the machine until the owner answers; bytes fed meanwhile are kept.
class Handshake {
 public:
  /// Acceptor: the peer has told its name; call answer_status(). Its digest is not verified yet:
  /// nothing that exists may be torn down on the strength of this name alone, save an own attempt
  /// to it.
  struct AskStatus {
    PeerIdentity peer;
    /// The peer has no name and asks for one (`erl -sname undefined`): peer.name is only its host,
    /// and the answer is answer_name() or answer_status(not_allowed).
    bool wants_name = false;
  };
  /// Initiator: the peer believes that a connection is up; call answer_alive(true) unless one
  /// really is.
  struct AskAlive {};
  /// Initiator: the peer goes on with this attempt. If it had begun one of its own, it has given
  /// that up.
  struct Chosen {};
  /// Initiator: the peer keeps its own attempt to us. Close this socket and wait for the peer's,
  /// with a limit.
  struct WaitForInbound {};
  /// Write these bytes.
  struct Send {
    std::string bytes;
  };
  /// Both digests are right. `leftover` are bytes of the first frames, which came after the last
  /// message.
  struct Finished {
    PeerIdentity peer;
    bool takeover = false;  ///< acceptor said alive and the peer true: drop the old connection now
    std::string leftover;
  };
  /// It is over; close the socket (after writing what was to be sent before).
  struct Failed {
    Error error;
  };
  using Action = std::variant<Send, AskStatus, AskAlive, Chosen, WaitForInbound, Finished, Failed>;
  using Actions = std::vector<Action>;

  /// For a connection we opened to `peer_name`.
  static Handshake initiator(HandshakeSetup setup, std::string peer_name);
  /// For a connection that came in.
  static Handshake acceptor(HandshakeSetup setup);

  /// Once, first.
  Actions start();
  /// Bytes from the peer, in pieces of any size.
  Actions feed(std::string_view bytes);
  /// Acceptor: the answer to AskStatus. `cookie` replaces the setup's for this peer. nok and
  /// not_allowed end in Failed.
  Actions answer_status(Status status, std::optional<std::string> cookie = std::nullopt);
  /// Acceptor: the answer to an AskStatus that wants a name: a full one at the peer's host that no
  /// node has, and the creation that the peer gives to its pids.
  Actions answer_name(std::string name, std::uint32_t creation,
                      std::optional<std::string> cookie = std::nullopt);
  /// Initiator: the answer to AskAlive. false ends in Failed.
  Actions answer_alive(bool old_connection_is_dead);

  /// True after Finished, Failed or WaitForInbound.
  bool done() const { return state_ == State::done; }
  /// Initiator: our digest is out and the peer's is awaited. A peer that closes now has not liked
  /// our cookie.
  bool awaits_ack() const { return state_ == State::awaits_ack; }

 private:
  enum class State {
    created,
    awaits_name,
    awaits_status_decision,
    awaits_alive_reply,
    awaits_complement,       // acceptor, after a name of the old form
    awaits_challenge_reply,  // acceptor
    awaits_status,
    awaits_alive_decision,
    awaits_challenge,
    awaits_ack,  // initiator
    done,
  };

  Handshake(HandshakeSetup setup, std::string wanted_peer, bool is_initiator);
  void advance(Actions& out);
  void take_message(std::string_view body, Actions& out);
  void take_name(std::string_view body, Actions& out);
  void take_old_name(std::string_view body, Actions& out);
  void take_static_name(Actions& out);
  void take_host(Actions& out);
  void take_complement(std::string_view body, Actions& out);
  bool has_demanded(Flags offered, Flags demanded, Actions& out);
  void refuse_name(std::string message, Actions& out);
  void take_alive_reply(std::string_view body, Actions& out);
  void take_challenge_reply(std::string_view body, Actions& out);
  void take_status(std::string_view body, Actions& out);
  void take_challenge(std::string_view body, Actions& out);
  void take_ack(std::string_view body, Actions& out);
  void send(std::string_view body, Actions& out) const;
  void send_status(std::string_view text, Actions& out) const;
  void send_challenge(Actions& out);
  void fail(ErrorCode code, std::string message, Actions& out);
  void finish(Actions& out);

  HandshakeSetup setup_;
  std::string wanted_peer_;
  bool is_initiator_;
  State state_ = State::created;
  PeerIdentity peer_;
  Flags offered_ = 0;      ///< by the peer
  bool old_name_ = false;  ///< its upper flags and creation come with the complement
  bool takeover_ = false;
  std::string buffer_;
};

}  // namespace rakv::distribution
