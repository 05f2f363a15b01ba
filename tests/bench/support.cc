// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/support.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "cnode/etf/text.h"

namespace rakv::bench {

void give_up(const std::string& why, std::string_view term) {
  etf::Limits limits;
  limits.max_output_bytes = 400;
  std::fprintf(stderr, "%s: error: %s%s\n", program_invocation_short_name, why.c_str(),
               term.empty() ? "" : (": " + etf::print_text(term, {}, limits)).c_str());
  std::exit(1);
}

std::string host_name() {
  std::string buffer(256, '\0');
  if (gethostname(buffer.data(), buffer.size() - 1) != 0) give_up("this host has no name");
  const std::string host = buffer.c_str();
  return host.substr(0, host.find('.'));
}

bool tagged(etf::Cursor& cursor, std::string_view tag, std::uint32_t arity) {
  if (cursor.kind() != etf::TermKind::tuple) return false;
  etf::Cursor ahead = cursor;
  if (ahead.tuple() != arity || !ahead.is_atom(tag)) return false;
  cursor = ahead;
  return true;
}

}  // namespace rakv::bench
