// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "cnode/distribution/outbox.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/ids.h"
#include "cnode/etf/writer.h"

// The message conventions of gen_server and gen_statem (OTP gen.erl;
// docs/protocol/distribution.md 5.1): {'$gen_call', {Pid, Tag}, Request}, {'$gen_cast', Request},
// and the reply {Tag, Reply}.

namespace rakv::node {

/// A message to a named process, taken apart. Views point into the message.
struct GenMessage {
  enum class Kind {
    call,  ///< `from` and `request` are set
    cast,  ///< `request` is set
    info,  ///< neither form: `request` is the whole message
  };
  Kind kind = Kind::info;
  std::string_view from;     ///< the encoded `{Pid, Tag}`
  std::string_view request;  ///< encoded, not validated below its outermost level
};

/// Takes a message apart. A message that is not well-formed gives nothing; the whole message is
/// validated.
std::optional<GenMessage> parse_gen_message(std::string_view message);

/// One of OTP's system messages (sys.erl), `{system, From, Request}`, to which `{Tag, Reply}` is
/// the answer as to a call. Views point into the message.
struct SystemMessage {
  std::string_view from;                    ///< the encoded `{Pid, Tag}`
  std::string_view request;                 ///< encoded
  std::optional<std::string_view> end_for;  ///< the encoded Reason of `{terminate, Reason}`
};

/// Nothing when the message, which is a valid term, is another one.
std::optional<SystemMessage> parse_system_message(std::string_view message);

/// Where a reply goes and under which tag.
struct ReplyAddress {
  etf::PidView pid;  ///< the caller
  std::optional<etf::ReferenceView>
      alias;             ///< set when the tag is `[alias|Ref]` or `[[alias|Ref]|_]`
  std::string_view tag;  ///< encoded; to be echoed as it is
};

/// Reads an encoded `{Pid, Tag}`. `cursor` must stand on it and outlive the views (Latin-1 node
/// names).
std::optional<ReplyAddress> parse_from(etf::Cursor& cursor);

}  // namespace rakv::node
