// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/order.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "cnode/base/check.h"
#include "cnode/etf/canonical.h"
#include "cnode/etf/scan.h"

namespace rakv::etf {

namespace {

using scan::Integer;
using scan::Item;

int sign_of(bool less, bool greater) { return greater ? 1 : (less ? -1 : 0); }

template <class T>
int compare_values(const T& a, const T& b) {
  return sign_of(a < b, b < a);
}

int compare_bytes(std::string_view a, std::string_view b) { return sign_of(a < b, b < a); }

/// Magnitudes only.
int compare_magnitudes(const Integer& a, const Integer& b) {
  if (a.big.size() != b.big.size()) return a.big.size() < b.big.size() ? -1 : 1;
  if (a.big.empty()) return compare_values(a.small, b.small);
  for (std::size_t i = a.big.size(); i-- > 0;) {
    const int order = compare_values(scan::byte_at(a.big, i), scan::byte_at(b.big, i));
    if (order != 0) return order;
  }
  return 0;
}

int compare_integers(const Integer& a, const Integer& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  const int order = compare_magnitudes(a, b);
  return a.negative ? -order : order;
}

/// |integer| against `value` >= 0, by exact value.
int compare_magnitude_to_float(const Integer& a, double value) {
  constexpr double kTwoTo64 = 18446744073709551616.0;
  if (a.big.empty()) {
    if (value >= kTwoTo64) return -1;
    const auto whole = static_cast<std::uint64_t>(value);
    if (a.small != whole) return compare_values(a.small, whole);
    return value > static_cast<double>(whole) ? -1 : 0;
  }
  if (value < kTwoTo64) return 1;
  // value is mantissa * 2^shift with a 64-bit mantissa whose top bit is set: a whole number of at
  // most 128 bytes.
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 64));
  const auto shift = static_cast<std::size_t>(exponent - 64);
  unsigned char bytes[8 + 128 + 8] = {};
  const auto bits = static_cast<unsigned>(shift % 8);
  const std::uint64_t low = mantissa << bits;
  std::memcpy(bytes + shift / 8, &low, 8);
  bytes[shift / 8 + 8] = static_cast<unsigned char>(bits == 0 ? 0 : mantissa >> (64 - bits));
  std::string_view magnitude(reinterpret_cast<const char*>(bytes), sizeof bytes);
  while (magnitude.back() == 0) magnitude.remove_suffix(1);
  Integer b;
  b.big = magnitude;
  return compare_magnitudes(a, b);
}

int compare_integer_to_float(const Integer& a, double value) {
  if (value == 0) return a.is_zero() ? 0 : (a.negative ? -1 : 1);
  const bool negative = value < 0;
  if (a.is_zero() || a.negative != negative) {
    if (a.is_zero()) return negative ? 1 : -1;
    return a.negative ? -1 : 1;
  }
  const int order = compare_magnitude_to_float(a, std::fabs(value));
  return negative ? -order : order;
}

/// In the order of keys, integers come before floats and -0.0 before 0.0.
int compare_numbers(const Item& a, const Item& b, bool exact) {
  const bool a_integer = a.kind == TermKind::integer;
  const bool b_integer = b.kind == TermKind::integer;
  if (a_integer && b_integer) return compare_integers(a.integer, b.integer);
  if (!a_integer && !b_integer) {
    const int order = compare_values(a.floating, b.floating);
    if (order != 0 || !exact) return order;
    return static_cast<int>(std::signbit(b.floating)) - static_cast<int>(std::signbit(a.floating));
  }
  if (exact) return a_integer ? -1 : 1;
  return a_integer ? compare_integer_to_float(a.integer, b.floating)
                   : -compare_integer_to_float(b.integer, a.floating);
}

/// Bit by bit; a prefix comes first. Bits that do not count are 0 in canonical terms.
int compare_bits(const Item& a, const Item& b) {
  const auto bits = [](const Item& item) {
    return item.bytes.empty() ? 0 : (item.bytes.size() - 1) * 8 + item.last_bits;
  };
  const std::size_t a_bits = bits(a);
  const std::size_t b_bits = bits(b);
  const std::size_t common = std::min(a_bits, b_bits);
  const std::size_t whole = common / 8;
  if (const int order = compare_bytes(a.bytes.substr(0, whole), b.bytes.substr(0, whole));
      order != 0) {
    return order;
  }
  if (common % 8 != 0) {
    const unsigned drop = 8 - common % 8;
    const unsigned x = scan::byte_at(a.bytes, whole) >> drop;
    const unsigned y = scan::byte_at(b.bytes, whole) >> drop;
    if (x != y) return x < y ? -1 : 1;
  }
  return compare_values(a_bits, b_bits);
}

int compare_references(const Item& a, const Item& b) {
  if (const int order = compare_bytes(a.atom.bytes, b.atom.bytes); order != 0) return order;
  if (const int order = compare_values(a.creation, b.creation); order != 0) return order;
  for (std::size_t i = kMaxReferenceWords; i-- > 0;) {
    const int order = compare_values(a.words.word[i], b.words.word[i]);
    if (order != 0) return order;
  }
  return 0;
}

int compare_ports(const Item& a, const Item& b) {
  if (const int order = compare_bytes(a.atom.bytes, b.atom.bytes); order != 0) return order;
  if (const int order = compare_values(a.creation, b.creation); order != 0) return order;
  return compare_values(a.id, b.id);
}

int compare_pids(const Item& a, const Item& b) {
  if (const int order = compare_values(a.serial, b.serial); order != 0) return order;
  if (const int order = compare_values(a.id, b.id); order != 0) return order;
  if (const int order = compare_bytes(a.atom.bytes, b.atom.bytes); order != 0) return order;
  return compare_values(a.creation, b.creation);
}

int compare_exports(const Item& a, const Item& b) {
  if (const int order = compare_bytes(a.atom.bytes, b.atom.bytes); order != 0) return order;
  if (const int order = compare_bytes(a.function.bytes, b.function.bytes); order != 0) return order;
  return compare_values(a.arity, b.arity);
}

/// The order of the types. Closures come before external funs.
int rank(TermKind kind) {
  switch (kind) {
    case TermKind::integer:
    case TermKind::floating:
      return 0;
    case TermKind::atom:
      return 1;
    case TermKind::reference:
      return 2;
    case TermKind::fun:
      return 3;
    case TermKind::export_fun:
      return 4;
    case TermKind::port:
      return 5;
    case TermKind::pid:
      return 6;
    case TermKind::tuple:
      return 7;
    case TermKind::record:
      return 8;
    case TermKind::map:
      return 9;
    case TermKind::nil:
      return 10;
    case TermKind::list:
    case TermKind::string:
      return 11;
    case TermKind::binary:
    case TermKind::bitstring:
      return 12;
    case TermKind::invalid:
      break;
  }
  return 13;
}

constexpr Limits no_limits() {
  return {std::numeric_limits<std::uint32_t>::max(), std::numeric_limits<std::size_t>::max()};
}

/// One of the two terms, and how far it is read.
struct Side {
  std::string_view input;
  std::size_t position = 0;
  std::size_t start = 0;  ///< where the head in `item` began
  Item item;

  void peek() { RAKV_CHECK(scan::read_head(input, position, item)); }
  void read() {
    start = position;
    peek();
    position = item.end;
  }
  std::string_view skip() {
    Cursor cursor(input.substr(position), no_limits());
    const auto term = cursor.skip();
    RAKV_CHECK(term.has_value());
    position += term->size();
    return *term;
  }
};

/// The cells of a list that are still to come, on one side.
struct Cells {
  bool string = false;
  std::uint64_t remaining = 0;
};

/// A pair of open containers.
struct CompareFrame {
  enum class Kind : std::uint8_t { sequence, values, lists };
  Kind kind = Kind::sequence;
  std::uint64_t remaining =
      0;  ///< sequence: terms; values: pairs of which the keys are known to be equal
  Cells left;
  Cells right;
};

/// Compares two canonical terms.
class Comparer {
 public:
  Comparer(std::string_view left, std::string_view right, bool exact) : exact_(exact) {
    left_.input = left;
    right_.input = right;
  }

  int run() {
    do {
      left_.read();
      right_.read();
      int order = compare_values(rank(left_.item.kind), rank(right_.item.kind));
      if (order == 0) order = compare_heads();
      if (order == 0) order = advance();
      if (order != 0) return order;
    } while (!done_);
    return 0;
  }

 private:
  int compare_heads() {
    const Item& a = left_.item;
    const Item& b = right_.item;
    switch (a.kind) {
      case TermKind::integer:
      case TermKind::floating:
        return compare_numbers(a, b, exact_);
      case TermKind::atom:
        return compare_bytes(a.atom.bytes, b.atom.bytes);
      case TermKind::reference:
        return compare_references(a, b);
      case TermKind::export_fun:
        return compare_exports(a, b);
      case TermKind::port:
        return compare_ports(a, b);
      case TermKind::pid:
        return compare_pids(a, b);
      case TermKind::binary:
      case TermKind::bitstring:
        return compare_bits(a, b);
      case TermKind::fun:
        return compare_closures();
      case TermKind::record:
        return compare_records();
      case TermKind::tuple:
        if (a.count != b.count) return a.count < b.count ? -1 : 1;
        push_sequence(a.count);
        return 0;
      case TermKind::map:
        if (a.count != b.count) return a.count < b.count ? -1 : 1;
        return compare_map_keys(a.count);
      case TermKind::list:
      case TermKind::string: {
        CompareFrame frame;
        frame.kind = CompareFrame::Kind::lists;
        frame.left = cells_of(left_);
        frame.right = cells_of(right_);
        stack_.push(frame);
        return 0;
      }
      case TermKind::nil:
      case TermKind::invalid:
        return 0;
    }
    return 0;
  }

  void push_sequence(std::uint64_t count) {
    CompareFrame frame;
    frame.remaining = count;
    stack_.push(frame);
  }

  /// Goes to the first cell: after the header of a list, to the first byte of a string.
  static Cells cells_of(Side& side) {
    if (side.item.kind == TermKind::list) return {false, side.item.count};
    side.position = side.item.end - side.item.bytes.size();
    return {true, side.item.bytes.size()};
  }

  /// By module, place in the module, and free variables.
  int compare_closures() {
    const Item& a = left_.item;
    const Item& b = right_.item;
    if (const int order = compare_bytes(a.atom.bytes, b.atom.bytes); order != 0) return order;
    if (const int order = compare_integers(a.fun.old_index, b.fun.old_index); order != 0)
      return order;
    if (const int order = compare_integers(a.fun.old_uniq, b.fun.old_uniq); order != 0)
      return order;
    if (a.count != b.count) return a.count < b.count ? -1 : 1;
    push_sequence(a.count);
    return 0;
  }

  /// By their bytes, which is not OTP's order.
  int compare_records() {
    left_.position = left_.start;
    right_.position = right_.start;
    return compare_bytes(left_.skip(), right_.skip());
  }

  /// Keys are compared before any value. The first keys that differ decide, and they differ
  /// exactly.
  int compare_map_keys(std::uint32_t pairs) {
    const std::size_t left_start = left_.position;
    const std::size_t right_start = right_.position;
    for (std::uint32_t i = 0; i < pairs; ++i) {
      const std::string_view left_key = left_.skip();
      const std::string_view right_key = right_.skip();
      if (left_key != right_key) {
        while (!stack_.empty()) stack_.pop();
        exact_ = true;
        left_.position -= left_key.size();
        right_.position -= right_key.size();
        push_sequence(1);
        return 0;
      }
      left_.skip();
      right_.skip();
    }
    left_.position = left_start;
    right_.position = right_start;
    CompareFrame frame;
    frame.kind = CompareFrame::Kind::values;
    frame.remaining = pairs;
    stack_.push(frame);
    return 0;
  }

  /// Closes what is complete and stops before the next two terms to compare.
  int advance() {
    for (;;) {
      if (stack_.empty()) {
        done_ = true;
        return 0;
      }
      CompareFrame& frame = stack_.top();
      if (frame.kind == CompareFrame::Kind::lists) {
        bool closed = false;
        const int order = advance_lists(frame, closed);
        if (order != 0 || !closed) return order;
        continue;
      }
      if (frame.remaining > 0) {
        --frame.remaining;
        if (frame.kind == CompareFrame::Kind::values) {
          left_.skip();
          right_.skip();
        }
        return 0;
      }
      stack_.pop();
    }
  }

  /// Compares cells for which no stack is needed. Stops before two terms, or closes the frame.
  int advance_lists(CompareFrame& frame, bool& closed) {
    for (;;) {
      if (frame.left.remaining == 0 || frame.right.remaining == 0) return end_lists(frame, closed);
      if (frame.left.string && frame.right.string) {
        const std::size_t common = std::min(frame.left.remaining, frame.right.remaining);
        const int order = compare_bytes(left_.input.substr(left_.position, common),
                                        right_.input.substr(right_.position, common));
        if (order != 0) return order;
        take(frame.left, left_, common);
        take(frame.right, right_, common);
        continue;
      }
      if (!frame.left.string && !frame.right.string) {
        --frame.left.remaining;
        --frame.right.remaining;
        return 0;
      }
      read_cell(frame.left, left_);
      read_cell(frame.right, right_);
      const int order = rank(left_.item.kind) != rank(right_.item.kind)
                            ? compare_values(rank(left_.item.kind), rank(right_.item.kind))
                            : compare_numbers(left_.item, right_.item, exact_);
      if (order != 0) return order;
    }
  }

  static void take(Cells& cells, Side& side, std::size_t count) {
    cells.remaining -= count;
    side.position += count;
  }

  /// The next cell's head as an item; a string's as the integer it stands for.
  static void read_cell(Cells& cells, Side& side) {
    if (cells.string) {
      side.item.kind = TermKind::integer;
      side.item.integer = {};
      side.item.integer.small = scan::byte_at(side.input, side.position);
      take(cells, side, 1);
    } else {
      --cells.remaining;
      side.read();
    }
  }

  /// What follows the cells of one side: another cell, [] or any other tail.
  static int rest_rank(const Cells& cells, Side& side) {
    if (cells.remaining > 0) return rank(TermKind::list);
    if (cells.string) return rank(TermKind::nil);
    side.peek();
    return rank(side.item.kind);
  }

  int end_lists(CompareFrame& frame, bool& closed) {
    const int order = compare_values(rest_rank(frame.left, left_), rest_rank(frame.right, right_));
    if (order != 0) return order;
    const bool left_string = frame.left.string;
    const bool right_string = frame.right.string;
    stack_.pop();
    if (!left_string && !right_string) return 0;  // the tails are the next terms
    if (!left_string) left_.read();               // the [] that the string has without bytes
    if (!right_string) right_.read();
    closed = true;
    return 0;
  }

  Side left_;
  Side right_;
  bool exact_;
  bool done_ = false;
  scan::SmallStack<CompareFrame, 8> stack_;
};

/// The canonical form of `term`: itself where that can be seen, else made in `made`.
Result<std::string_view> canonical_view(std::string_view term, std::string& made,
                                        const Limits& limits) {
  if (is_plainly_canonical(term)) return term;
  auto canonical = canonicalize(term, limits);
  if (!canonical) return canonical.error();
  made = std::move(*canonical);
  return std::string_view(made);
}

/// The order of two whole canonical terms of the same common form, which needs no walk: binaries,
/// small integers, short atoms. Integers and atoms have no equal that is not the same, so this is
/// the order of keys too.
std::optional<int> compare_plain(std::string_view left, std::string_view right) {
  if (left.empty() || right.empty() || left[0] != right[0]) return std::nullopt;
  switch (scan::byte_at(left, 0)) {
    case scan::kBinary:
      return left.size() < 5 || right.size() < 5
                 ? std::nullopt
                 : std::optional(compare_bytes(left.substr(5), right.substr(5)));
    case scan::kSmallInteger:
      return compare_bytes(left.substr(1), right.substr(1));
    case scan::kSmallAtomUtf8:
      return left.size() < 2 || right.size() < 2
                 ? std::nullopt
                 : std::optional(compare_bytes(left.substr(2), right.substr(2)));
    default:
      return std::nullopt;
  }
}

}  // namespace

std::weak_ordering compare_canonical(std::string_view left, std::string_view right) {
  if (left == right) return std::weak_ordering::equivalent;
  if (const auto order = compare_plain(left, right)) return *order <=> 0;
  return Comparer(left, right, false).run() <=> 0;
}

std::strong_ordering compare_keys(std::string_view left, std::string_view right) {
  if (left == right) return std::strong_ordering::equal;
  if (const auto order = compare_plain(left, right)) return *order <=> 0;
  const int order = Comparer(left, right, true).run();
  // Closures can differ in what does not order them: the process that made them, the version of
  // their module.
  return (order != 0 ? order : compare_bytes(left, right)) <=> 0;
}

Result<std::weak_ordering> compare(std::string_view left, std::string_view right,
                                   const Limits& limits) {
  std::string left_made;
  std::string right_made;
  auto a = canonical_view(left, left_made, limits);
  if (!a) return a.error();
  auto b = canonical_view(right, right_made, limits);
  if (!b) return b.error();
  return compare_canonical(*a, *b);
}

Result<bool> equal_exact(std::string_view left, std::string_view right, const Limits& limits) {
  std::string left_made;
  std::string right_made;
  auto a = canonical_view(left, left_made, limits);
  if (!a) return a.error();
  auto b = canonical_view(right, right_made, limits);
  if (!b) return b.error();
  return *a == *b;
}

}  // namespace rakv::etf
