// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "cnode/etf/writer.h"

// What a member says about itself (docs/protocol/wire.md 5.7; keys and forms as a BEAM member's,
// checked against ra 3.1.10).

namespace rakv::member {

class Member;

/// Copies the live values into the counters that mirror state.
void refresh_counters(const Member& member);

/// The name of the state that clients see: its role's, or `stays_out`.
std::string_view shown_state(const Member& member);

/// ra:key_metrics/1 of a running member.
void write_key_metrics(const Member& member, etf::Writer& writer);

/// The list of all members' ids.
void write_member_ids(const Member& member, etf::Writer& writer);

/// `{state_query, overview}`.
void write_overview(const Member& member, etf::Writer& writer);

/// The answer to `{state_query, What}`.
void write_state_query_answer(const Member& member, std::string_view what, etf::Writer& reply);

}  // namespace rakv::member
