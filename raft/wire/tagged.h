// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "cnode/etf/cursor.h"

namespace rakv::wire {

/// A term that is an atom, or a tuple with an atom in front.
struct Tagged {
  std::string_view tag;
  std::uint32_t arity = 0;  ///< 0: a bare atom
  etf::Cursor elements;     ///< after the tag

  explicit Tagged(std::string_view term) : elements(term, etf::kMessageLimits) {
    if (elements.kind() == etf::TermKind::tuple) {
      arity = elements.tuple().value_or(0);
      if (arity == 0) return;
    }
    if (elements.kind() == etf::TermKind::atom) tag = elements.atom().value_or("");
  }
  /// Whether it is `name` with so many elements in all (0: the bare atom).
  bool is(std::string_view name, std::uint32_t wanted_arity) const {
    return arity == wanted_arity && tag == name;
  }
  /// The next element, encoded; empty when there is none.
  std::string_view next() { return elements.skip().value_or(std::string_view{}); }
};

}  // namespace rakv::wire
