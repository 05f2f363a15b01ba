// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_script_terms.h"

#include <utility>
#include <vector>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"

namespace rakv::simulation {
namespace {

using Replace = std::function<std::optional<std::string>(std::string_view part)>;

void rewrite(etf::Cursor& cursor, etf::Writer& out, const Replace& replace) {
  etf::Cursor whole(cursor.rest());
  const std::string_view part = whole.skip().value_or(std::string_view{});
  if (const auto other = replace(part)) {
    out.raw(*other);
    cursor.skip();
    return;
  }
  const auto copy = [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) rewrite(cursor, out, replace);
  };
  switch (cursor.kind()) {
    case etf::TermKind::tuple: {
      const std::uint32_t arity = cursor.tuple().value_or(0);
      out.tuple(arity);
      return copy(arity);
    }
    case etf::TermKind::map: {
      const std::uint32_t pairs = cursor.map().value_or(0);
      out.map(pairs);
      return copy(std::uint64_t{pairs} * 2);
    }
    case etf::TermKind::list: {
      const std::uint32_t count = cursor.list().value_or(0);
      out.list(count);
      return copy(std::uint64_t{count} + 1);
    }
    default:
      out.raw(part);
      cursor.skip();
  }
}

}  // namespace

std::string rewrite_term(std::string_view term, const Replace& replace) {
  etf::Cursor cursor(term);
  etf::Writer out;
  rewrite(cursor, out, replace);
  return out.take();
}

std::string without_repeats(std::string_view term) {
  return rewrite_term(term, [](std::string_view part) -> std::optional<std::string> {
    etf::Cursor cursor(part);
    if (cursor.kind() != etf::TermKind::list) return std::nullopt;
    const std::uint32_t count = cursor.list().value_or(0);
    std::vector<std::string> kept;
    for (std::uint32_t i = 0; i < count; ++i) {
      std::string element = without_repeats(cursor.skip().value_or(std::string_view{}));
      if (kept.empty() || kept.back() != element) kept.push_back(std::move(element));
    }
    etf::Writer out;
    out.list(kept.size());
    for (const std::string& element : kept) out.raw(element);
    return out.raw(cursor.rest()).take();
  });
}

}  // namespace rakv::simulation
