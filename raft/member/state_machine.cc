// SPDX-License-Identifier: Apache-2.0
#include "raft/member/state_machine.h"

namespace rakv::member {

void CommandMeta::write(etf::Writer& writer) const {
  writer.map(from.empty() ? 5 : 6);
  writer.atom("index").u64(index);
  writer.atom("term").u64(term);
  writer.atom("machine_version").integer(0);
  writer.atom("system_time").integer(system_time_ms);
  writer.atom("reply_mode").raw(reply_mode);
  if (!from.empty()) writer.atom("from").raw(from);
}

}  // namespace rakv::member
