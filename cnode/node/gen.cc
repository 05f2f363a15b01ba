// SPDX-License-Identifier: Apache-2.0
#include "cnode/node/gen.h"

namespace rakv::node {
namespace {

/// Reads `[alias|Ref]`, one level of nesting allowed in front (gen_server:multi_call of OTP 29).
std::optional<etf::ReferenceView> alias_in_tag(etf::Cursor cursor, int nesting) {
  if (cursor.kind() != etf::TermKind::list || cursor.list() != 1u) return std::nullopt;
  if (cursor.is_atom("alias")) {
    if (cursor.kind() != etf::TermKind::reference) return std::nullopt;
    return cursor.reference_view();
  }
  return nesting > 0 ? alias_in_tag(cursor, nesting - 1) : std::nullopt;
}

}  // namespace

std::optional<GenMessage> parse_gen_message(std::string_view message) {
  GenMessage parsed;
  etf::Cursor cursor(message, etf::kMessageLimits);
  if (cursor.kind() == etf::TermKind::tuple) {
    const std::optional<std::uint32_t> arity = cursor.tuple();
    if (arity == 3u && cursor.is_atom("$gen_call")) {
      parsed.kind = GenMessage::Kind::call;
      parsed.from = cursor.skip().value_or(std::string_view{});
      parsed.request = cursor.skip().value_or(std::string_view{});
      if (!cursor.at_end()) return std::nullopt;
      return parsed;
    }
    if (arity == 2u && cursor.is_atom("$gen_cast")) {
      parsed.kind = GenMessage::Kind::cast;
      parsed.request = cursor.skip().value_or(std::string_view{});
      if (!cursor.at_end()) return std::nullopt;
      return parsed;
    }
  }
  etf::Cursor whole(message, etf::kMessageLimits);
  parsed.request = whole.skip().value_or(std::string_view{});
  if (!whole.at_end()) return std::nullopt;
  return parsed;
}

std::optional<SystemMessage> parse_system_message(std::string_view message) {
  etf::Cursor cursor(message, etf::kMessageLimits);
  if (cursor.kind() != etf::TermKind::tuple || !cursor.tuple(3) || !cursor.is_atom("system"))
    return std::nullopt;
  SystemMessage parsed;
  parsed.from = cursor.skip().value_or(std::string_view{});
  parsed.request = cursor.skip().value_or(std::string_view{});
  etf::Cursor asked(parsed.request, etf::kMessageLimits);
  if (asked.kind() == etf::TermKind::tuple && asked.tuple(2) && asked.is_atom("terminate"))
    parsed.end_for = asked.skip();
  return parsed;
}

std::optional<ReplyAddress> parse_from(etf::Cursor& cursor) {
  ReplyAddress address;
  if (!cursor.tuple(2)) return std::nullopt;
  const std::optional<etf::PidView> pid = cursor.pid_view();
  if (!pid) return std::nullopt;
  address.pid = *pid;
  const etf::Cursor before_tag = cursor;
  const std::optional<std::string_view> tag = cursor.skip();
  if (!tag) return std::nullopt;
  address.tag = *tag;
  address.alias = alias_in_tag(before_tag, 1);
  return address;
}

}  // namespace rakv::node
