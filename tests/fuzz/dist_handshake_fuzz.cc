// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/distribution/epmd.h"
#include "cnode/distribution/handshake.h"

// Handshake and epmd answers from a peer that means no good. The first byte chooses the role, the
// answers given to the machine's questions, and the width of lengths; the second one the size of
// the pieces.

namespace {

using rakv::distribution::Handshake;

void take(Handshake& machine, Handshake::Actions actions, unsigned choice) {
  for (const Handshake::Action& action : actions) {
    if (std::holds_alternative<Handshake::AskStatus>(action)) {
      const auto status = static_cast<rakv::distribution::Status>(choice % 5);
      take(machine, machine.answer_status(status), choice);
    } else if (std::holds_alternative<Handshake::AskAlive>(action)) {
      take(machine, machine.answer_alive(choice % 2 == 0), choice);
    } else if (const auto* finished = std::get_if<Handshake::Finished>(&action)) {
      // Nobody but one who knows the cookie gets here; the fuzzer can't.
      RAKV_CHECK(finished->peer.name.empty());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const unsigned choice = data[0];
  const std::size_t piece = 1 + data[1];
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);

  rakv::distribution::HandshakeSetup setup;
  setup.own_name = "rakv@host";
  setup.own_creation = 7;
  setup.cookie = "a cookie that no input holds";
  setup.own_challenge = 12345;
  setup.width = (choice & 0x80) != 0 ? rakv::distribution::LengthWidth::four
                                     : rakv::distribution::LengthWidth::two;
  const bool is_initiator = (choice & 0x40) != 0;
  Handshake machine =
      is_initiator ? Handshake::initiator(setup, "peer@host") : Handshake::acceptor(setup);
  const unsigned answers = choice & 0x3f;
  take(machine, machine.start(), answers);
  for (std::string_view rest = input; !rest.empty() && !machine.done();) {
    const std::string_view part = rest.substr(0, piece);
    rest.remove_prefix(part.size());
    take(machine, machine.feed(part), answers);
  }

  (void)rakv::distribution::epmd::decode_register_reply(input, "rakv");
  (void)rakv::distribution::epmd::decode_lookup_reply(input, choice % 2 == 0, "rakv");
  (void)rakv::distribution::epmd::decode_names_reply(input);
  return 0;
}
