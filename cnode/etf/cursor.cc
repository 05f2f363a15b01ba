// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/cursor.h"

#include <cstring>
#include <limits>

#include "cnode/etf/scan.h"

namespace rakv::etf {

using scan::byte_at;
using scan::Item;
using scan::load16;
using scan::load32;

std::string_view kind_name(TermKind kind) {
  switch (kind) {
    case TermKind::invalid:
      return "invalid";
    case TermKind::integer:
      return "integer";
    case TermKind::floating:
      return "float";
    case TermKind::atom:
      return "atom";
    case TermKind::reference:
      return "reference";
    case TermKind::fun:
      return "closure";
    case TermKind::export_fun:
      return "external fun";
    case TermKind::port:
      return "port";
    case TermKind::pid:
      return "pid";
    case TermKind::tuple:
      return "tuple";
    case TermKind::map:
      return "map";
    case TermKind::nil:
      return "empty list";
    case TermKind::list:
      return "list";
    case TermKind::string:
      return "byte list";
    case TermKind::binary:
      return "binary";
    case TermKind::bitstring:
      return "bitstring";
    case TermKind::record:
      return "native record";
  }
  return "invalid";
}

namespace {

TermKind kind_of_tag(std::uint8_t tag) {
  switch (tag) {
    case scan::kSmallInteger:
    case scan::kInteger:
    case scan::kSmallBig:
    case scan::kLargeBig:
      return TermKind::integer;
    case scan::kNewFloat:
    case scan::kFloat:
      return TermKind::floating;
    case scan::kAtom:
    case scan::kSmallAtom:
    case scan::kAtomUtf8:
    case scan::kSmallAtomUtf8:
      return TermKind::atom;
    case scan::kSmallTuple:
    case scan::kLargeTuple:
      return TermKind::tuple;
    case scan::kNil:
      return TermKind::nil;
    case scan::kString:
      return TermKind::string;
    case scan::kList:
      return TermKind::list;
    case scan::kBinary:
      return TermKind::binary;
    case scan::kBitBinary:
      return TermKind::bitstring;
    case scan::kMap:
      return TermKind::map;
    case scan::kNewPid:
    case scan::kPid:
      return TermKind::pid;
    case scan::kV4Port:
    case scan::kNewPort:
    case scan::kPort:
      return TermKind::port;
    case scan::kNewerReference:
    case scan::kNewReference:
    case scan::kReference:
      return TermKind::reference;
    case scan::kExport:
      return TermKind::export_fun;
    case scan::kNewFun:
      return TermKind::fun;
    case scan::kRecord:
      return TermKind::record;
    default:
      return TermKind::invalid;
  }
}

/// One open container of skip().
struct SkipFrame {
  std::uint64_t remaining = 0;  ///< terms still to come inside it
  std::size_t end = 0;          ///< closure: where it must end; else 0
  bool list = false;            ///< a tail follows the elements
};

constexpr std::size_t kInlineDepth = 64;  // as the docstring of Cursor says

/// Bytes of a pid or reference up to the end of its node's name, if that is a short atom in ASCII;
/// 0 for anything else. The name begins `before` bytes after the tag.
std::size_t size_with_node(std::string_view input, std::size_t position, std::size_t before) {
  const std::size_t left = input.size() - position;
  const std::size_t name_at = before + 3;
  if (left < name_at || byte_at(input, position + before + 1) != scan::kSmallAtomUtf8) return 0;
  const std::size_t size = name_at + byte_at(input, position + before + 2);
  if (size > left || !scan::is_ascii(input.substr(position + name_at, size - name_at))) return 0;
  return size;
}

/// Takes a leaf of one of the commonest forms without decoding it: small integers, atoms in ASCII,
/// binaries, [], pids and references of today's form. False for anything else, also when it is
/// malformed.
bool skip_common_leaf(std::string_view input, std::size_t& position) {
  const std::size_t left = input.size() - position;
  if (left < 2) return false;
  std::size_t size = 0;
  switch (byte_at(input, position)) {
    case scan::kSmallInteger:
      size = 2;
      break;
    case scan::kInteger:
      size = 5;
      break;
    case scan::kSmallAtomUtf8:
      size = std::size_t{2} + byte_at(input, position + 1);
      if (size > left || !scan::is_ascii(input.substr(position + 2, size - 2))) return false;
      break;
    case scan::kBinary:
      if (left < 5) return false;
      size = std::size_t{5} + load32(input.data() + position + 1);
      break;
    case scan::kNil:
      size = 1;
      break;
    case scan::kNewPid:
      size = size_with_node(input, position, 0);
      if (size == 0) return false;
      size += 12;
      break;
    case scan::kNewerReference: {
      if (left < 3) return false;
      const std::size_t words = load16(input.data() + position + 1);
      if (words == 0 || words > kMaxReferenceWords) return false;
      size = size_with_node(input, position, 2);
      if (size == 0) return false;
      size += 4 + 4 * words;
      break;
    }
    default:
      return false;
  }
  if (size > left) return false;
  position += size;
  return true;
}

/// Takes the head of one of the commonest containers: small tuples, lists, maps. False for anything
/// else, also when it is malformed.
bool open_common_container(std::string_view input, std::size_t& position, SkipFrame& frame) {
  const std::size_t left = input.size() - position;
  switch (byte_at(input, position)) {
    case scan::kSmallTuple: {
      if (left < 2) return false;
      const std::size_t arity = byte_at(input, position + 1);
      if (arity > left - 2) return false;
      frame = {arity, 0, false};
      position += 2;
      return true;
    }
    case scan::kList: {
      if (left < 5) return false;
      const std::size_t count = load32(input.data() + position + 1);
      if (count >= left - 5) return false;
      frame = {count, 0, true};
      position += 5;
      return true;
    }
    case scan::kMap: {
      if (left < 5) return false;
      const std::size_t pairs = load32(input.data() + position + 1);
      if (pairs > (left - 5) / 2) return false;
      frame = {2 * pairs, 0, false};
      position += 5;
      return true;
    }
    default:
      return false;
  }
}

/// Takes a leaf or the head of a container in any form.
bool skip_other(std::string_view input, std::size_t& position,
                scan::SmallStack<SkipFrame, kInlineDepth>& stack) {
  Item item;
  if (!scan::read_head(input, position, item)) return false;
  position = item.end;
  switch (item.kind) {
    case TermKind::tuple:
    case TermKind::record:
      stack.push({item.count, 0, false});
      break;
    case TermKind::map:
      stack.push({std::uint64_t{item.count} * 2, 0, false});
      break;
    case TermKind::list:
      stack.push({item.count, 0, true});
      break;
    case TermKind::fun:
      stack.push({item.count, item.fun.end, false});
      break;
    default:
      break;
  }
  return true;
}

/// Finds the end of the term at `position`, or returns false.
bool skip_term(std::string_view input, std::size_t& position, std::uint32_t max_depth) {
  if (position >= input.size()) return false;
  if (skip_common_leaf(input, position)) return true;
  scan::SmallStack<SkipFrame, kInlineDepth> stack;
  for (;;) {
    if (position >= input.size()) return false;
    if (!skip_common_leaf(input, position)) {
      SkipFrame opened;
      if (open_common_container(input, position, opened)) {
        stack.push(opened);
      } else if (!skip_other(input, position, stack)) {
        return false;
      }
      if (stack.size() > max_depth) return false;
    }
    // Close what is complete. A list's frame goes before its tail is read, so a chain of tails does
    // not nest.
    for (;;) {
      if (stack.empty()) return true;
      SkipFrame& frame = stack.top();
      if (frame.remaining > 0) {
        --frame.remaining;
        break;
      }
      const bool tail_follows = frame.list;
      if (frame.end != 0 && frame.end != position) return false;
      stack.pop();
      if (tail_follows) break;
    }
  }
}

}  // namespace

Error Cursor::error(std::string_view expected) const {
  std::string message = "at byte " + std::to_string(position_) + " of the term: expected ";
  message += expected;
  message += ", found ";
  if (position_ >= input_.size()) {
    message += "the end of the bytes";
  } else {
    const std::uint8_t tag = byte_at(input_, position_);
    message += kind_name(kind_of_tag(tag));
    message += " (tag " + std::to_string(tag) + ")";
  }
  return make_error(ErrorCode::malformed, std::move(message));
}

TermKind Cursor::kind() const {
  if (!ok_ || position_ >= input_.size()) return TermKind::invalid;
  return kind_of_tag(byte_at(input_, position_));
}

bool Cursor::version() {
  if (!ok_ || position_ >= input_.size() || byte_at(input_, position_) != kVersionMagic)
    return fail();
  ++position_;
  return true;
}

std::optional<std::uint32_t> Cursor::tuple() {
  const std::size_t left = ok_ ? input_.size() - position_ : 0;
  if (left >= 2 && byte_at(input_, position_) == scan::kSmallTuple) {
    const std::uint32_t arity = byte_at(input_, position_ + 1);
    if (arity <= left - 2) {
      position_ += 2;
      return arity;
    }
  } else if (left >= 5 && byte_at(input_, position_) == scan::kLargeTuple) {
    const std::uint32_t arity = load32(input_.data() + position_ + 1);
    if (arity <= left - 5) {
      position_ += 5;
      return arity;
    }
  }
  ok_ = false;
  return std::nullopt;
}

bool Cursor::tuple(std::uint32_t arity) {
  const std::size_t before = position_;
  const auto found = tuple();
  if (!found) return false;
  if (*found != arity) {
    position_ = before;
    return fail();
  }
  return true;
}

std::optional<std::uint32_t> Cursor::list() {
  const std::size_t left = ok_ ? input_.size() - position_ : 0;
  if (left >= 1 && byte_at(input_, position_) == scan::kNil) {
    ++position_;
    return 0;
  }
  if (left >= 6 && byte_at(input_, position_) == scan::kList) {
    const std::uint32_t count = load32(input_.data() + position_ + 1);
    if (count > 0 && count < left - 5) {
      position_ += 5;
      return count;
    }
    // Valid, though no BEAM writes it: a list of no elements and the tail []. With another tail it
    // is no list.
    if (count == 0 && byte_at(input_, position_ + 5) == scan::kNil) {
      position_ += 6;
      return 0;
    }
  }
  ok_ = false;
  return std::nullopt;
}

bool Cursor::nil() {
  if (!ok_ || position_ >= input_.size() || byte_at(input_, position_) != scan::kNil) return fail();
  ++position_;
  return true;
}

std::optional<std::string_view> Cursor::string() {
  const std::size_t left = ok_ ? input_.size() - position_ : 0;
  if (left >= 1 && byte_at(input_, position_) == scan::kNil) {
    ++position_;
    return input_.substr(position_, 0);
  }
  if (left >= 3 && byte_at(input_, position_) == scan::kString) {
    const std::size_t size = load16(input_.data() + position_ + 1);
    if (size <= left - 3) {
      const std::string_view bytes = input_.substr(position_ + 3, size);
      position_ += 3 + size;
      return bytes;
    }
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<std::uint32_t> Cursor::map() {
  const std::size_t left = ok_ ? input_.size() - position_ : 0;
  if (left >= 5 && byte_at(input_, position_) == scan::kMap) {
    const std::uint32_t pairs = load32(input_.data() + position_ + 1);
    if (pairs <= (left - 5) / 2) {
      position_ += 5;
      return pairs;
    }
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<std::string_view> Cursor::atom() {
  scan::AtomBytes found;
  if (!ok_ || !scan::read_atom(input_, position_, found)) {
    ok_ = false;
    return std::nullopt;
  }
  return name_of(found.bytes, found.latin1);
}

std::string_view Cursor::name_of(std::string_view bytes, bool latin1) {
  if (!latin1) return bytes;
  std::string& name = latin1_names_.emplace_front();
  scan::append_latin1(name, bytes);
  return name;
}

bool Cursor::is_atom(std::string_view name) {
  if (!ok_) return false;
  // The form nearly every atom has: compare without validating (an equal name is as valid as
  // `name`).
  if (input_.size() - position_ >= 2 && byte_at(input_, position_) == scan::kSmallAtomUtf8) {
    const std::size_t size = byte_at(input_, position_ + 1);
    if (size != name.size() || size > input_.size() - position_ - 2 ||
        std::memcmp(input_.data() + position_ + 2, name.data(), size) != 0) {
      return false;
    }
    position_ += 2 + size;
    return true;
  }
  scan::AtomBytes found;
  std::size_t after = position_;
  if (!scan::read_atom(input_, after, found)) return false;
  if (found.latin1) {
    std::string converted;
    scan::append_latin1(converted, found.bytes);
    if (converted != name) return false;
  } else if (found.bytes != name) {
    return false;
  }
  position_ = after;
  return true;
}

std::optional<bool> Cursor::boolean() {
  if (is_atom("true")) return true;
  if (is_atom("false")) return false;
  ok_ = false;
  return std::nullopt;
}

std::optional<std::uint64_t> Cursor::u64() {
  scan::Integer integer;
  std::size_t after = position_;
  if (ok_ && scan::read_integer(input_, after, integer) && !integer.negative &&
      integer.big.empty()) {
    position_ = after;
    return integer.small;
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<std::uint32_t> Cursor::u32() {
  const std::size_t before = position_;
  const auto value = u64();
  if (!value) return std::nullopt;
  if (*value > std::numeric_limits<std::uint32_t>::max()) {
    position_ = before;
    ok_ = false;
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(*value);
}

std::optional<std::int64_t> Cursor::i64() {
  scan::Integer integer;
  std::size_t after = position_;
  std::int64_t value = 0;
  if (ok_ && scan::read_integer(input_, after, integer) && integer.to_i64(value)) {
    position_ = after;
    return value;
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<double> Cursor::floating() {
  Item item;
  if (ok_ && kind() == TermKind::floating && scan::read_head(input_, position_, item)) {
    position_ = item.end;
    return item.floating;
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<std::string_view> Cursor::binary() {
  const std::size_t before = position_;
  const auto found = bits();
  if (!found) return std::nullopt;
  if (found->last_bits != 8) {
    position_ = before;
    ok_ = false;
    return std::nullopt;
  }
  return found->bytes;
}

std::optional<BitsView> Cursor::bits() {
  const std::size_t left = ok_ ? input_.size() - position_ : 0;
  if (left >= 5 && byte_at(input_, position_) == scan::kBinary) {
    const std::size_t size = load32(input_.data() + position_ + 1);
    if (size <= left - 5) {
      const std::string_view bytes = input_.substr(position_ + 5, size);
      position_ += 5 + size;
      return BitsView{bytes, 8};
    }
  } else if (left >= 6 && byte_at(input_, position_) == scan::kBitBinary) {
    Item item;
    if (scan::read_head(input_, position_, item)) {
      position_ = item.end;
      return BitsView{item.bytes, item.last_bits};
    }
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<std::string_view> Cursor::bytes() {
  const TermKind next = kind();
  return next == TermKind::string || next == TermKind::nil ? string() : binary();
}

std::optional<PidView> Cursor::pid_view() {
  Item item;
  if (kind() == TermKind::pid && scan::read_head(input_, position_, item)) {
    position_ = item.end;
    return PidView{name_of(item.atom.bytes, item.atom.latin1), static_cast<std::uint32_t>(item.id),
                   item.serial, item.creation};
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<ReferenceView> Cursor::reference_view() {
  Item item;
  if (kind() == TermKind::reference && scan::read_head(input_, position_, item)) {
    position_ = item.end;
    return ReferenceView{name_of(item.atom.bytes, item.atom.latin1), item.creation, item.words};
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<PortView> Cursor::port_view() {
  Item item;
  if (kind() == TermKind::port && scan::read_head(input_, position_, item)) {
    position_ = item.end;
    return PortView{name_of(item.atom.bytes, item.atom.latin1), item.id, item.creation};
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<Pid> Cursor::pid() {
  const auto view = pid_view();
  if (!view) return std::nullopt;
  return Pid(*view);
}

std::optional<Reference> Cursor::reference() {
  const auto view = reference_view();
  if (!view) return std::nullopt;
  return Reference(*view);
}

std::optional<Port> Cursor::port() {
  const auto view = port_view();
  if (!view) return std::nullopt;
  return Port(*view);
}

std::optional<ExportView> Cursor::export_fun() {
  Item item;
  if (kind() == TermKind::export_fun && scan::read_head(input_, position_, item)) {
    position_ = item.end;
    return ExportView{name_of(item.atom.bytes, item.atom.latin1),
                      name_of(item.function.bytes, item.function.latin1), item.arity};
  }
  ok_ = false;
  return std::nullopt;
}

std::optional<std::string_view> Cursor::skip() {
  std::size_t after = position_;
  if (!ok_ || !skip_term(input_, after, limits_.max_depth)) {
    ok_ = false;
    return std::nullopt;
  }
  const std::string_view term = input_.substr(position_, after - position_);
  position_ = after;
  return term;
}

Result<void> validate(std::string_view bytes, const Limits& limits) {
  Cursor cursor(bytes, limits);
  if (!cursor.skip()) return cursor.error("a valid term");
  if (!cursor.at_end()) {
    return make_error(ErrorCode::malformed, std::to_string(cursor.rest().size()) +
                                                " bytes follow the term; pass exactly one term");
  }
  return {};
}

}  // namespace rakv::etf
