// SPDX-License-Identifier: Apache-2.0
#include "raft/member/member.h"
#include "raft/member/tagged.h"

// OTP's system messages (sys.erl): `{system, From, Request}`. Whoever sends one waits, so each is
// answered. What this server can do is to end, which is what gen_statem:stop/1 asks for; it has no
// Erlang state to show or to replace.

namespace rakv::member {

bool Member::handle_system_message(std::string_view message) {
  Tagged tagged(message);
  if (!tagged.is("system", 3)) return false;
  const std::string from(tagged.next());
  const std::string_view request = tagged.next();
  Tagged asked(request);
  reply_.clear();
  if (!asked.is("terminate", 2)) {
    reply_.tuple(2).atom("error").tuple(2).atom("unsupported_system_message").raw(request);
    answer(from, reply_.view());
    return true;
  }
  answer(from, reply_.atom("ok").view());
  // A server that ends in order stays stopped; any other end is a crash, and its supervisor starts
  // it again.
  etf::Cursor reason(asked.next());
  const std::string_view name =
      reason.kind() == etf::TermKind::atom ? reason.atom().value_or("") : std::string_view{};
  if (name == "normal" || name == "shutdown") {
    end(raft::effect::StopReason::removed);
  } else {
    services_.on_crash(id_.name(), "shutdown");
  }
  return true;
}

}  // namespace rakv::member
