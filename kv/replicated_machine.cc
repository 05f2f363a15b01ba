// SPDX-License-Identifier: Apache-2.0
#include "kv/replicated_machine.h"

#include "cnode/etf/canonical.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/text.h"

namespace rakv::kv {

Result<void> ReplicatedMachine::check_command(std::string_view data) const {
  const Result<KvCommand> command = parse_command(data);
  if (!command) return command.error();
  // A map with a key twice passes a mere skip, but no BEAM can decode it: it would cut every link
  // it travels on.
  for (const std::string_view term : {command->key, command->value}) {
    if (term.empty() || etf::is_plainly_canonical(term)) continue;
    if (const Result<std::string> decodable = etf::canonicalize(term, etf::kMessageLimits);
        !decodable)
      return decodable.error();
  }
  return {};
}

void ReplicatedMachine::apply(const member::CommandMeta& meta, std::string_view data,
                              etf::Writer* reply) {
  const Result<KvCommand> command = parse_command(data);
  // What could not be appended here may have come from a BEAM leader, whose replicas crash on it:
  // it has no effect.
  const CommandOutcome result =
      command ? machine_.apply(meta.index, *command) : CommandOutcome::not_found;
  if (reply == nullptr) return;
  if (result == CommandOutcome::ok) {
    reply->tuple(2).atom("ok");
    meta.write(*reply);
  } else {
    reply->tuple(2).atom("error").atom("not_found");
  }
}

member::AuxResult ReplicatedMachine::handle_aux(std::string_view command,
                                                const member::AuxContext& context,
                                                etf::Writer& reply) {
  etf::Cursor cursor(command, etf::kMessageLimits);
  if (cursor.is_atom("take_snapshot")) {
    reply.atom("ok");
    return {.replies = true, .takes_snapshot = true};
  }
  if (cursor.kind() != etf::TermKind::tuple || cursor.tuple() != 2u || !cursor.is_atom("get"))
    return {};
  const std::uint64_t index = machine_.find(cursor.skip().value_or(std::string_view{}));
  if (index == 0) {
    reply.tuple(2).atom("error").atom("not_found");
  } else {
    reply.tuple(3).atom("ok").u64(index);
    context.write_members(reply);
  }
  return {.replies = true, .takes_snapshot = false};
}

Result<std::unique_ptr<member::StateMachine>> KvMachineFactory::make(
    std::string_view machine) const {
  etf::Cursor cursor(machine);
  if (cursor.kind() == etf::TermKind::tuple && cursor.tuple() == 3u && cursor.is_atom("module") &&
      cursor.is_atom("ra_kv")) {
    return std::unique_ptr<member::StateMachine>(std::make_unique<ReplicatedMachine>());
  }
  return make_error(
      ErrorCode::unsupported,
      "this node runs the machine {module, ra_kv, _} only, not " + etf::print_brief(machine));
}

std::string KvMachineFactory::configuration() const {
  return etf::Writer().tuple(3).atom("module").atom("ra_kv").map(0).take();
}

}  // namespace rakv::kv
