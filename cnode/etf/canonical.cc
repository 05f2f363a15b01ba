// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/canonical.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "cnode/etf/compress.h"
#include "cnode/etf/order.h"
#include "cnode/etf/scan.h"
#include "cnode/etf/writer.h"

namespace rakv::etf {

namespace {

using scan::byte_at;
using scan::Item;

/// The BEAM writes references with three words or more, and takes missing high words for 0.
constexpr std::size_t kMinCanonicalWords = 3;

/// One open container.
struct CanonicalFrame {
  enum class Kind : std::uint8_t { sequence, list, map, fun };
  Kind kind = Kind::sequence;
  std::uint64_t remaining = 0;  ///< terms to come (list: of the current header)
  std::uint64_t count = 0;      ///< list: elements so far; map: pairs
  std::size_t start = 0;        ///< where its canonical form begins
  std::size_t mark =
      0;  ///< map: its first entry in the list of children; fun: where it must end in the input
};

class Canonicalizer {
 public:
  Canonicalizer(std::string_view term, std::string& out, const Limits& limits)
      : input_(term), out_(out), base_(out.size()), limits_(limits), writer_(out) {}

  Result<void> run() {
    do {
      if (!scan::read_head(input_, position_, item_)) return bad();
      // A list header without elements stands for its tail.
      if (item_.kind == TermKind::list && item_.count == 0) {
        position_ = item_.end;
        continue;
      }
      position_ = item_.end;
      note_child();
      take_term();
      if (stack_.size() > limits_.max_depth) {
        return make_error(
            ErrorCode::limit_exceeded,
            "the term nests deeper than " + std::to_string(limits_.max_depth) + " levels");
      }
      if (auto advanced = advance(); !advanced) return advanced;
      if (out_.size() - base_ > limits_.max_output_bytes) {
        return make_error(ErrorCode::limit_exceeded,
                          "the canonical form of the term is larger than " +
                              std::to_string(limits_.max_output_bytes) + " bytes");
      }
    } while (!done_);
    if (position_ != input_.size()) {
      return make_error(ErrorCode::malformed, std::to_string(input_.size() - position_) +
                                                  " bytes follow the term; pass exactly one term");
    }
    return {};
  }

 private:
  Error bad() const {
    return make_error(ErrorCode::malformed,
                      "byte " + std::to_string(position_) + " of the term can not be read");
  }

  /// A child of a map begins here: its place is kept for sorting.
  void note_child() {
    if (!stack_.empty() && stack_.top().kind == CanonicalFrame::Kind::map)
      children_.push_back(out_.size());
  }

  std::string_view name_of(const scan::AtomBytes& atom, std::string& scratch) {
    if (!atom.latin1) return atom.bytes;
    scratch.clear();
    scan::append_latin1(scratch, atom.bytes);
    return scratch;
  }
  std::string_view name_of(const scan::AtomBytes& atom) { return name_of(atom, scratch_); }

  void integer(const scan::Integer& value) {
    if (value.big.empty()) {
      char magnitude[8];
      std::memcpy(magnitude, &value.small, 8);
      writer_.big(value.negative, std::string_view(magnitude, 8));
    } else {
      writer_.big(value.negative, value.big);
    }
  }

  void pid(const scan::AtomBytes& node) {
    writer_.pid(
        {name_of(node), static_cast<std::uint32_t>(item_.id), item_.serial, item_.creation});
  }

  void take_term() {
    const std::size_t start = out_.size();
    switch (item_.kind) {
      case TermKind::integer:
        return integer(item_.integer);
      case TermKind::floating:
        writer_.floating(item_.floating);
        return;
      case TermKind::atom:
        writer_.atom(name_of(item_.atom));
        return;
      case TermKind::nil:
        writer_.nil();
        return;
      case TermKind::string:
        writer_.byte_list(item_.bytes);
        return;
      case TermKind::binary:
      case TermKind::bitstring:
        writer_.bits({item_.bytes, item_.last_bits});
        return;
      case TermKind::pid:
        return pid(item_.atom);
      case TermKind::port:
        writer_.port({name_of(item_.atom), item_.id, item_.creation});
        return;
      case TermKind::reference: {
        ReferenceWords words = item_.words;
        while (words.count > kMinCanonicalWords && words.word[words.count - 1u] == 0) --words.count;
        if (words.count < kMinCanonicalWords) words.count = kMinCanonicalWords;
        writer_.reference({name_of(item_.atom), item_.creation, words});
        return;
      }
      case TermKind::export_fun: {
        std::string function;
        writer_.export_fun(name_of(item_.atom), name_of(item_.function, function), item_.arity);
        return;
      }
      case TermKind::tuple:
        writer_.tuple(item_.count);
        return push({CanonicalFrame::Kind::sequence, item_.count, 0, start, 0});
      case TermKind::list:
        writer_.list(item_.count);
        return push({CanonicalFrame::Kind::list, item_.count, item_.count, start, 0});
      case TermKind::map:
        writer_.map(item_.count);
        return push({CanonicalFrame::Kind::map, std::uint64_t{item_.count} * 2, item_.count, start,
                     children_.size()});
      case TermKind::fun:
        return fun(start);
      case TermKind::record:
        return record(start);
      case TermKind::invalid:
        return;
    }
  }

  void push(const CanonicalFrame& frame) { stack_.push(frame); }

  void put32(std::uint32_t value) {
    const std::uint32_t swapped = __builtin_bswap32(value);
    out_.append(reinterpret_cast<const char*>(&swapped), 4);
  }
  void set32(std::size_t at, std::uint64_t value) {
    const std::uint32_t swapped = __builtin_bswap32(static_cast<std::uint32_t>(value));
    std::memcpy(out_.data() + at, &swapped, 4);
  }

  /// The size is filled in when the free variables are written.
  void fun(std::size_t start) {
    const scan::FunHead& head = item_.fun;
    out_.push_back(static_cast<char>(scan::kNewFun));
    put32(0);
    out_.push_back(static_cast<char>(head.arity));
    out_.append(head.uniq);
    put32(head.index);
    put32(item_.count);
    writer_.atom(name_of(item_.atom));
    integer(head.old_index);
    integer(head.old_uniq);
    pid(item_.pid_node);
    push({CanonicalFrame::Kind::fun, item_.count, 0, start, head.end});
  }

  void record(std::size_t start) {
    out_.push_back(static_cast<char>(scan::kRecord));
    put32(item_.count);
    out_.push_back(static_cast<char>(item_.arity));
    writer_.atom(name_of(item_.atom)).atom(name_of(item_.function));
    std::size_t at = 0;
    for (std::uint32_t i = 0; i < item_.count; ++i) {
      scan::AtomBytes name;
      scan::read_atom(item_.bytes, at, name);
      writer_.atom(name_of(name));
    }
    push({CanonicalFrame::Kind::sequence, item_.count, 0, start, 0});
  }

  /// Closes what is complete and stops before the next term; sets done_ at the end.
  Result<void> advance() {
    for (;;) {
      if (stack_.empty()) {
        done_ = true;
        return {};
      }
      CanonicalFrame& frame = stack_.top();
      if (frame.remaining > 0) {
        --frame.remaining;
        return {};
      }
      switch (frame.kind) {
        case CanonicalFrame::Kind::sequence:
          break;
        case CanonicalFrame::Kind::fun:
          if (frame.mark != position_) return bad();
          set32(frame.start + 1, out_.size() - frame.start - 1);
          break;
        case CanonicalFrame::Kind::map: {
          if (auto sorted = close_map(frame); !sorted) return sorted;
          break;
        }
        case CanonicalFrame::Kind::list: {
          auto end = close_list(frame);
          if (!end) return end.error();
          if (*end == ListEnd::goes_on) continue;
          if (*end == ListEnd::proper) break;
          // The tail is part of this list, not another child of what is around it.
          stack_.pop();
          if (auto taken = take_tail(); !taken) return taken;
          continue;
        }
      }
      stack_.pop();
    }
  }

  /// The tail of an improper list: any term but a list. Leaves are written here; a container is
  /// opened.
  Result<void> take_tail() {
    if (!scan::read_head(input_, position_, item_)) return bad();
    position_ = item_.end;
    take_term();
    if (stack_.size() > limits_.max_depth) {
      return make_error(
          ErrorCode::limit_exceeded,
          "the term nests deeper than " + std::to_string(limits_.max_depth) + " levels");
    }
    return {};
  }

  enum class ListEnd { goes_on, proper, improper };

  /// At a list's tail. Lists and strings there continue the list.
  Result<ListEnd> close_list(CanonicalFrame& frame) {
    if (!scan::read_head(input_, position_, item_)) return bad();
    if (item_.kind == TermKind::list) {
      position_ = item_.end;
      frame.remaining = item_.count;
      if (auto added = add_elements(frame, item_.count); !added) return added.error();
      return ListEnd::goes_on;
    }
    if (item_.kind == TermKind::string) {
      position_ = item_.end;
      if (auto added = add_elements(frame, item_.bytes.size()); !added) return added.error();
      for (const char c : item_.bytes) writer_.u64(static_cast<unsigned char>(c));
      end_proper(frame);
      return ListEnd::proper;
    }
    if (item_.kind == TermKind::nil) {
      position_ = item_.end;
      end_proper(frame);
      return ListEnd::proper;
    }
    set32(frame.start + 1, frame.count);
    return ListEnd::improper;
  }

  static Result<void> add_elements(CanonicalFrame& frame, std::uint64_t more) {
    frame.count += more;
    if (frame.count > std::numeric_limits<std::uint32_t>::max()) {
      return make_error(ErrorCode::limit_exceeded,
                        "a list of 2^32 elements or more can not be encoded");
    }
    return {};
  }

  /// Writes the final form of a proper list: the STRING form if all elements are bytes.
  void end_proper(const CanonicalFrame& frame) {
    const std::size_t first = frame.start + 5;
    bool all_bytes = frame.count <= 0xffff && out_.size() - first == 2 * frame.count;
    for (std::size_t i = 0; all_bytes && i < frame.count; ++i) {
      all_bytes = byte_at(out_, first + 2 * i) == scan::kSmallInteger;
    }
    if (!all_bytes) {
      set32(frame.start + 1, frame.count);
      writer_.nil();
      return;
    }
    char* to = out_.data() + frame.start;
    *to++ = static_cast<char>(scan::kString);
    *to++ = static_cast<char>(frame.count >> 8);
    *to++ = static_cast<char>(frame.count);
    for (std::size_t i = 0; i < frame.count; ++i) *to++ = out_[first + 2 * i + 1];
    out_.resize(frame.start + 3 + frame.count);
  }

  /// Puts the pairs in the order of their keys.
  Result<void> close_map(const CanonicalFrame& frame) {
    struct Pair {
      std::string_view key;
      std::string_view both;
    };
    const std::size_t* child = children_.data() + frame.mark;
    std::vector<Pair> pairs(frame.count);
    const std::string_view written = out_;
    for (std::size_t i = 0; i < frame.count; ++i) {
      const std::size_t key = child[2 * i];
      const std::size_t value = child[2 * i + 1];
      const std::size_t next = i + 1 < frame.count ? child[2 * i + 2] : written.size();
      pairs[i] = {written.substr(key, value - key), written.substr(key, next - key)};
    }
    children_.resize(frame.mark);
    const auto by_key = [](const Pair& a, const Pair& b) { return compare_keys(a.key, b.key) < 0; };
    const bool sorted = std::is_sorted(pairs.begin(), pairs.end(), by_key);
    if (!sorted) std::sort(pairs.begin(), pairs.end(), by_key);
    const auto same_key = [](const Pair& a, const Pair& b) { return a.key == b.key; };
    if (std::adjacent_find(pairs.begin(), pairs.end(), same_key) != pairs.end()) {
      return make_error(ErrorCode::malformed, "a map has the same key twice");
    }
    if (sorted) return {};
    std::string ordered;
    ordered.reserve(written.size() - frame.start - 5);
    for (const Pair& pair : pairs) ordered += pair.both;
    std::memcpy(out_.data() + frame.start + 5, ordered.data(), ordered.size());
    return {};
  }

  std::string_view input_;
  std::string& out_;
  std::size_t base_;
  Limits limits_;
  Writer writer_;
  std::size_t position_ = 0;
  bool done_ = false;
  Item item_;
  std::string scratch_;
  scan::SmallStack<CanonicalFrame, 16> stack_;
  std::vector<std::size_t>
      children_;  ///< where the keys and values of open maps begin in the output
};

}  // namespace

bool is_plainly_canonical(std::string_view term) {
  if (term.empty()) return false;
  switch (byte_at(term, 0)) {
    case scan::kBinary:
      return term.size() >= 5 && scan::load32(term.data() + 1) == term.size() - 5;
    case scan::kSmallInteger:
      return term.size() == 2;
    case scan::kNil:
      return term.size() == 1;
    case scan::kSmallAtomUtf8:
      return term.size() >= 2 && byte_at(term, 1) == term.size() - 2 &&
             scan::is_ascii(term.substr(2));
    case scan::kNewFloat:
      return term.size() == 9 && ((scan::load64(term.data() + 1) >> 52) & 0x7ff) != 0x7ff;
    default:
      return false;
  }
}

namespace {

/// A term without version byte and not compressed.
Result<void> canonicalize_plain(std::string_view term, std::string& out, const Limits& limits) {
  if (is_plainly_canonical(term)) {
    out.append(term);
    return {};
  }
  const std::size_t before = out.size();
  auto done = Canonicalizer(term, out, limits).run();
  if (!done) out.resize(before);
  return done;
}

}  // namespace

Result<void> canonicalize_to(std::string_view term, std::string& out, const Limits& limits) {
  if (term.empty()) return make_error(ErrorCode::malformed, "no bytes: expected a term");
  std::string external;
  if (byte_at(term, 0) == scan::kCompressed) {
    external.assign(1, static_cast<char>(kVersionMagic)).append(term);
    term = external;
  }
  if (byte_at(term, 0) != kVersionMagic) return canonicalize_plain(term, out, limits);
  if (!is_compressed(term)) return canonicalize_plain(term.substr(1), out, limits);
  // What is inside must be a plain term: compressed terms do not nest.
  auto plain = uncompress(term, limits);
  if (!plain) return plain.error();
  return canonicalize_plain(*plain, out, limits);
}

Result<std::string> canonicalize(std::string_view term, const Limits& limits) {
  std::string out;
  if (auto done = canonicalize_to(term, out, limits); !done) return done.error();
  return out;
}

}  // namespace rakv::etf
