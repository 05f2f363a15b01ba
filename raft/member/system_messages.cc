// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/gen.h"
#include "raft/member/member.h"

// OTP's system messages. Whoever sends one waits, so each is answered. What this server can do is
// to end, which is what gen_statem:stop/1 asks for; it has no Erlang state to show or to replace.

namespace rakv::member {

bool Member::handle_system_message(std::string_view message) {
  const std::optional<node::SystemMessage> system = node::parse_system_message(message);
  if (!system) return false;
  const std::string from(system->from);
  reply_.clear();
  if (!system->end_for) {
    reply_.tuple(2).atom("error").tuple(2).atom("unsupported_system_message").raw(system->request);
    answer(from, reply_.view());
    return true;
  }
  answer(from, reply_.atom("ok").view());
  // A server that ends in order stays stopped; any other end is a crash, and its supervisor starts
  // it again.
  etf::Cursor reason(*system->end_for);
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
