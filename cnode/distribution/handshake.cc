// SPDX-License-Identifier: Apache-2.0
#include "cnode/distribution/handshake.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>

#include "cnode/base/byte_order.h"
#include "cnode/base/check.h"

namespace rakv::distribution {

namespace {

std::string_view status_text(Status status) {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::ok_simultaneous:
      return "ok_simultaneous";
    case Status::nok:
      return "nok";
    case Status::not_allowed:
      return "not_allowed";
    case Status::alive:
      return "alive";
  }
  return "not_allowed";
}

/// Text from a peer for an error message: short and printable.
std::string quoted_text(std::string_view text) {
  std::string shown = "'";
  for (const char c : text.substr(0, 80)) shown += c >= 0x20 && c <= 0x7e ? c : '?';
  return shown + (text.size() > 80 ? "...'" : "'");
}

}  // namespace

Digest digest(std::string_view cookie, std::uint32_t challenge) {
  const std::string input = std::string(cookie) + std::to_string(challenge);
  Digest result;
  unsigned int length = 0;
  RAKV_CHECK(EVP_Digest(input.data(), input.size(), result.data(), &length, EVP_md5(), nullptr) ==
             1);
  RAKV_CHECK(length == result.size());
  return result;
}

bool digests_equal(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::uint32_t random_challenge(Randomness& randomness) {
  return static_cast<std::uint32_t>(randomness());
}

std::uint32_t random_creation(Randomness& randomness) {
  std::uint32_t creation = 0;
  while (creation < 4) creation = random_challenge(randomness);
  return creation;
}

Result<NodeName> parse_node_name(std::string_view full_name) {
  const auto bad = [full_name](std::string_view why) {
    return make_error(
        ErrorCode::malformed,
        fmt::format("{} is not a node's name: {}; write name@host", quoted_text(full_name), why));
  };
  if (full_name.size() > kMaxNodeNameBytes) return bad("it is too long");
  const std::size_t at = full_name.find('@');
  if (at == std::string_view::npos) return bad("there is no @");
  if (full_name.find('@', at + 1) != std::string_view::npos) return bad("there are two @");
  if (at == 0) return bad("nothing stands before the @");
  if (at + 1 == full_name.size()) return bad("nothing follows the @");
  const bool printable = std::all_of(full_name.begin(), full_name.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
  if (!printable) return bad("it has blanks or control characters");
  return NodeName{std::string(full_name.substr(0, at)), std::string(full_name.substr(at + 1))};
}

Handshake::Handshake(HandshakeSetup setup, std::string wanted_peer, bool is_initiator)
    : setup_(std::move(setup)), wanted_peer_(std::move(wanted_peer)), is_initiator_(is_initiator) {}

Handshake Handshake::initiator(HandshakeSetup setup, std::string peer_name) {
  return Handshake(std::move(setup), std::move(peer_name), true);
}

Handshake Handshake::acceptor(HandshakeSetup setup) {
  return Handshake(std::move(setup), {}, false);
}

Handshake::Actions Handshake::start() {
  RAKV_CHECK(state_ == State::created);
  Actions out;
  if (!is_initiator_) {
    state_ = State::awaits_name;
    return out;
  }
  std::string body = "N";
  put_number(body, setup_.own_flags, 8);
  put_number(body, setup_.own_creation, 4);
  put_number(body, setup_.own_name.size(), 2);
  body += setup_.own_name;
  send(body, out);
  state_ = State::awaits_status;
  return out;
}

Handshake::Actions Handshake::feed(std::string_view bytes) {
  RAKV_CHECK(state_ != State::created && state_ != State::done);
  Actions out;
  buffer_.append(bytes);
  advance(out);
  return out;
}

Handshake::Actions Handshake::answer_status(Status status, std::optional<std::string> cookie) {
  RAKV_CHECK(state_ == State::awaits_status_decision);
  Actions out;
  if (cookie) setup_.cookie = std::move(*cookie);
  send_status(status_text(status), out);
  switch (status) {
    case Status::ok:
    case Status::ok_simultaneous:
      send_challenge(out);
      break;
    case Status::alive:
      state_ = State::awaits_alive_reply;
      break;
    case Status::nok:
      fail(ErrorCode::refused,
           "refused " + quoted_text(peer_.name) + " in favour of our own attempt to it", out);
      return out;
    case Status::not_allowed:
      fail(ErrorCode::refused, "refused " + quoted_text(peer_.name) + ": it is not allowed here",
           out);
      return out;
  }
  advance(out);
  return out;
}

Handshake::Actions Handshake::answer_name(std::string name, std::uint32_t creation,
                                          std::optional<std::string> cookie) {
  RAKV_CHECK(state_ == State::awaits_status_decision);
  Actions out;
  if (cookie) setup_.cookie = std::move(*cookie);
  peer_.name = std::move(name);
  peer_.creation = creation;
  std::string status = "named:";
  put_number(status, peer_.name.size(), 2);
  status += peer_.name;
  put_number(status, creation, 4);
  send_status(status, out);
  send_challenge(out);
  advance(out);
  return out;
}

Handshake::Actions Handshake::answer_alive(bool old_connection_is_dead) {
  RAKV_CHECK(state_ == State::awaits_alive_decision);
  Actions out;
  send_status(old_connection_is_dead ? "true" : "false", out);
  if (!old_connection_is_dead) {
    fail(ErrorCode::already_exists, "already connected with " + quoted_text(wanted_peer_), out);
    return out;
  }
  state_ = State::awaits_challenge;
  advance(out);
  return out;
}

void Handshake::advance(Actions& out) {
  const auto width = static_cast<std::size_t>(setup_.width);
  while (state_ != State::done && state_ != State::awaits_status_decision &&
         state_ != State::awaits_alive_decision) {
    if (buffer_.size() < width) return;
    const std::uint64_t length = load_number(buffer_, width);
    if (length > kMaxHandshakeMessageBytes) {
      fail(ErrorCode::limit_exceeded,
           "a handshake message of " + std::to_string(length) +
               " bytes was announced: is the other side an Erlang node?",
           out);
      return;
    }
    if (buffer_.size() < width + length) return;
    const std::string body = buffer_.substr(width, length);
    buffer_.erase(0, width + length);
    take_message(body, out);
  }
  // Only one message may be under way while we ask the owner; a peer that keeps sending is no
  // Erlang node.
  if (state_ != State::done && buffer_.size() > 2 * kMaxHandshakeMessageBytes) {
    fail(ErrorCode::limit_exceeded, "too many bytes during the handshake", out);
  }
}

void Handshake::take_message(std::string_view body, Actions& out) {
  switch (state_) {
    case State::awaits_name:
      return take_name(body, out);
    case State::awaits_alive_reply:
      return take_alive_reply(body, out);
    case State::awaits_complement:
      return take_complement(body, out);
    case State::awaits_challenge_reply:
      return take_challenge_reply(body, out);
    case State::awaits_status:
      return take_status(body, out);
    case State::awaits_challenge:
      return take_challenge(body, out);
    case State::awaits_ack:
      return take_ack(body, out);
    default:
      RAKV_CHECK_MSG(false, "no message is expected in this state");
  }
}

void Handshake::take_name(std::string_view body, Actions& out) {
  FieldReader fields{body};
  const std::string_view tag = fields.text(1);
  if (tag == "n") return take_old_name(body, out);
  offered_ = with_implied_flags(fields.number(8));
  peer_.creation = static_cast<std::uint32_t>(fields.number(4));
  const auto name_length = static_cast<std::size_t>(fields.number(2));
  peer_.name = fields.text(name_length);
  if (tag != "N" || !fields.ok) {
    return fail(ErrorCode::malformed,
                "the first message of the handshake is malformed: the other side is no Erlang node",
                out);
  }
  if ((offered_ & kFlagNameMe) != 0) return take_host(out);
  take_static_name(out);
}

/// A peer that has not heard of version 6 of us (ei_connect_host_port, OTP 23 and 24): version,
/// flags of 32 bits, name. The rest of the flags and the creation come as complement.
void Handshake::take_old_name(std::string_view body, Actions& out) {
  FieldReader fields{body};
  fields.number(1 + 2);
  offered_ = with_implied_flags(fields.number(4));
  if (!fields.ok) {
    return fail(ErrorCode::malformed, "the first message of the handshake is cut off", out);
  }
  peer_.name = fields.rest;
  old_name_ = true;
  take_static_name(out);
}

void Handshake::take_static_name(Actions& out) {
  if (const Result<NodeName> parsed = parse_node_name(peer_.name); !parsed) {
    return refuse_name("refused a peer: " + parsed.error().message, out);
  }
  if (peer_.name == setup_.own_name) {
    return refuse_name("refused a peer that uses our own name " + quoted_text(peer_.name), out);
  }
  constexpr Flags kLowerFlags = 0xffffffff;
  const Flags demanded = old_name_ ? setup_.demanded_flags & kLowerFlags : setup_.demanded_flags;
  if (!has_demanded(offered_, demanded, out)) return;
  peer_.flags = offered_ & setup_.own_flags;
  state_ = State::awaits_status_decision;
  out.push_back(AskStatus{peer_, false});
}

/// The peer has told its host only, and is told its name. Such a node is hidden (dist_util:
/// publish_flag).
void Handshake::take_host(Actions& out) {
  if (const Result<NodeName> parsed = parse_node_name("x@" + peer_.name); !parsed) {
    return refuse_name(
        "refused a peer that wants a name: its host is not one: " + parsed.error().message, out);
  }
  if (!has_demanded(offered_, setup_.demanded_flags, out)) return;
  setup_.own_flags = (setup_.own_flags & ~kFlagPublished) | kFlagNameMe;
  peer_.flags = offered_ & setup_.own_flags;
  state_ = State::awaits_status_decision;
  out.push_back(AskStatus{peer_, true});
}

bool Handshake::has_demanded(Flags offered, Flags demanded, Actions& out) {
  const std::string missing = missing_flag_names(offered, demanded);
  if (missing.empty()) return true;
  refuse_name(fmt::format("refused {}: it lacks {} (what OTP 26 and later demand of every node)",
                          quoted_text(peer_.name), missing),
              out);
  return false;
}

void Handshake::refuse_name(std::string message, Actions& out) {
  send_status(status_text(Status::not_allowed), out);
  fail(ErrorCode::refused, std::move(message), out);
}

void Handshake::take_complement(std::string_view body, Actions& out) {
  FieldReader fields{body};
  const std::string_view tag = fields.text(1);
  offered_ |= fields.number(4) << 32;
  peer_.creation = static_cast<std::uint32_t>(fields.number(4));
  if (tag != "c" || !fields.ok) {
    return fail(ErrorCode::malformed, quoted_text(peer_.name) + " sent a malformed complement",
                out);
  }
  if (!has_demanded(offered_, setup_.demanded_flags, out)) return;
  peer_.flags = offered_ & setup_.own_flags;
  state_ = State::awaits_challenge_reply;
}

void Handshake::take_alive_reply(std::string_view body, Actions& out) {
  if (body == "strue") {
    takeover_ = true;
    return send_challenge(out);
  }
  if (body == "sfalse") {
    return fail(ErrorCode::already_exists,
                quoted_text(peer_.name) + " dialled although it holds a live connection", out);
  }
  fail(ErrorCode::malformed,
       fmt::format("{} answered 'alive' with {}, not true or false", quoted_text(peer_.name),
                   quoted_text(body)),
       out);
}

void Handshake::take_challenge_reply(std::string_view body, Actions& out) {
  FieldReader fields{body};
  const std::string_view tag = fields.text(1);
  const auto challenge = static_cast<std::uint32_t>(fields.number(4));
  Digest theirs{};
  const std::string_view raw = fields.text(theirs.size());
  if (tag != "r" || !fields.ok) {
    return fail(ErrorCode::malformed, quoted_text(peer_.name) + " sent a malformed challenge reply",
                out);
  }
  std::copy(raw.begin(), raw.end(), theirs.begin());
  if (!digests_equal(theirs, digest(setup_.cookie, setup_.own_challenge))) {
    return fail(ErrorCode::refused,
                "refused " + quoted_text(peer_.name) +
                    ": its cookie is not ours; give both nodes the same one",
                out);
  }
  const Digest ours = digest(setup_.cookie, challenge);
  send("a" + std::string(ours.begin(), ours.end()), out);
  finish(out);
}

void Handshake::take_status(std::string_view body, Actions& out) {
  if (body == "sok" || body == "sok_simultaneous") {
    state_ = State::awaits_challenge;
    out.emplace_back(Chosen{});
  } else if (body == "snok") {
    state_ = State::done;
    out.push_back(WaitForInbound{});
  } else if (body == "salive") {
    state_ = State::awaits_alive_decision;
    out.push_back(AskAlive{});
  } else if (body == "snot_allowed") {
    fail(ErrorCode::refused,
         quoted_text(wanted_peer_) +
             " refused us (not_allowed): look into its log; it may allow certain "
             "nodes only (net_kernel:allow/1)",
         out);
  } else {
    fail(ErrorCode::malformed,
         fmt::format("{} answered our name with the unknown status {}", quoted_text(wanted_peer_),
                     quoted_text(body)),
         out);
  }
}

void Handshake::take_challenge(std::string_view body, Actions& out) {
  FieldReader fields{body};
  const std::string_view tag = fields.text(1);
  const Flags offered = with_implied_flags(fields.number(8));
  const auto challenge = static_cast<std::uint32_t>(fields.number(4));
  const auto creation = static_cast<std::uint32_t>(fields.number(4));
  const auto name_length = static_cast<std::size_t>(fields.number(2));
  const std::string_view name = fields.text(name_length);
  if (tag != "N" || !fields.ok) {
    return fail(ErrorCode::malformed,
                quoted_text(wanted_peer_) +
                    " sent a malformed or outdated challenge: it must be OTP 25 "
                    "or later",
                out);
  }
  if (name != wanted_peer_) {
    return fail(ErrorCode::refused,
                fmt::format("dialled {} but {} answered: the port belongs to another node, or the "
                            "host part differs",
                            quoted_text(wanted_peer_), quoted_text(name)),
                out);
  }
  if (const std::string missing = missing_flag_names(offered, setup_.demanded_flags);
      !missing.empty()) {
    return fail(ErrorCode::refused,
                fmt::format("{} lacks {} (what OTP 26 and later demand of every node)",
                            quoted_text(name), missing),
                out);
  }
  if (setup_.may_answer && !setup_.may_answer(challenge)) {
    return fail(ErrorCode::refused,
                quoted_text(wanted_peer_) +
                    " sent us a challenge of our own: whoever answers under its name does not "
                    "know the cookie and wants us to tell",
                out);
  }
  peer_ = PeerIdentity{std::string(name), offered & setup_.own_flags, creation};
  const Digest ours = digest(setup_.cookie, challenge);
  std::string reply = "r";
  put_number(reply, setup_.own_challenge, 4);
  reply.append(ours.begin(), ours.end());
  send(reply, out);
  state_ = State::awaits_ack;
}

void Handshake::take_ack(std::string_view body, Actions& out) {
  Digest theirs{};
  if (body.size() != 1 + theirs.size() || body[0] != 'a') {
    return fail(ErrorCode::malformed, quoted_text(peer_.name) + " sent a malformed acknowledgement",
                out);
  }
  std::copy(body.begin() + 1, body.end(), theirs.begin());
  if (!digests_equal(theirs, digest(setup_.cookie, setup_.own_challenge))) {
    return fail(ErrorCode::refused,
                quoted_text(peer_.name) + " does not know our cookie; give both nodes the same one",
                out);
  }
  finish(out);
}

void Handshake::send(std::string_view body, Actions& out) const {
  std::string bytes;
  put_number(bytes, body.size(), static_cast<std::size_t>(setup_.width));
  bytes.append(body);
  out.push_back(Send{std::move(bytes)});
}

void Handshake::send_status(std::string_view text, Actions& out) const {
  send("s" + std::string(text), out);
}

void Handshake::send_challenge(Actions& out) {
  std::string body = "N";
  put_number(body, setup_.own_flags, 8);
  put_number(body, setup_.own_challenge, 4);
  put_number(body, setup_.own_creation, 4);
  put_number(body, setup_.own_name.size(), 2);
  body += setup_.own_name;
  send(body, out);
  state_ = old_name_ ? State::awaits_complement : State::awaits_challenge_reply;
}

void Handshake::fail(ErrorCode code, std::string message, Actions& out) {
  state_ = State::done;
  out.push_back(Failed{make_error(code, std::move(message))});
}

void Handshake::finish(Actions& out) {
  state_ = State::done;
  out.push_back(Finished{peer_, takeover_, std::move(buffer_)});
  buffer_.clear();
}

}  // namespace rakv::distribution
