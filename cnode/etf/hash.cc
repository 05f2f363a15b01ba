// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/hash.h"

#include <cmath>

#include "cnode/etf/scan.h"

namespace rakv::etf {

namespace {

using scan::byte_at;
using scan::Integer;
using scan::Item;

constexpr std::uint32_t kGolden = 0x9e3779b9u;
constexpr std::uint32_t kHashMask = (1u << 27) - 1;
constexpr std::uint32_t kNilFromZero = 3468870702u;

constexpr std::uint32_t constant(std::uint32_t n) { return n * kGolden; }

/// Bob Jenkins' mixing function of 1996.
void mix(std::uint32_t& a, std::uint32_t& b, std::uint32_t& c) {
  const auto round = [&](int s1, int s2, int s3) {
    a = (a - b - c) ^ (c >> s1);
    b = (b - c - a) ^ (a << s2);
    c = (c - a - b) ^ (b >> s3);
  };
  round(13, 8, 13);
  round(12, 16, 5);
  round(3, 10, 15);
}

/// Hash of a run of bytes, started from `c`.
std::uint32_t block(std::string_view bytes, std::uint32_t c) {
  std::uint32_t a = kGolden;
  std::uint32_t b = kGolden;
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 12; left -= 12, p += 12) {
    a += scan::load32_little(p);
    b += scan::load32_little(p + 4);
    c += scan::load32_little(p + 8);
    mix(a, b, c);
  }
  c += static_cast<std::uint32_t>(bytes.size());
  unsigned char rest[12] = {};
  if (left > 0) std::memcpy(rest, p, left);
  // The lowest byte of c holds the length, so the last bytes go above it.
  a += scan::load32_little(reinterpret_cast<const char*>(rest));
  b += scan::load32_little(reinterpret_cast<const char*>(rest) + 4);
  c += scan::load32_little(reinterpret_cast<const char*>(rest) + 8) << 8;
  mix(a, b, c);
  return c;
}

/// The P. J. Weinberger hash of an atom's name, over Latin-1 where a character has it.
std::uint32_t hash_name(const scan::AtomBytes& atom) {
  std::uint32_t h = 0;
  const std::string_view name = atom.bytes;
  for (std::size_t i = 0; i < name.size(); ++i) {
    std::uint32_t value = byte_at(name, i);
    if (!atom.latin1 && (value & 0xfe) == 0xc2 && i + 1 < name.size()) {
      value = ((value & 0x03) << 6) | (byte_at(name, ++i) & 0x3f);
    }
    h = (h << 4) + value;
    if (const std::uint32_t g = h & 0xf0000000u; g != 0) {
      h ^= g >> 24;
      h ^= g;
    }
  }
  return h;
}

/// One open container.
struct HashFrame {
  enum class Kind : std::uint8_t { sequence, list, map };
  Kind kind = Kind::sequence;
  bool first = true;             ///< map: no pair is done yet
  std::uint64_t remaining = 0;   ///< terms to come (list: of the current header)
  std::uint32_t outer_hash = 0;  ///< map: the state outside
  std::uint32_t pairs_hash = 0;  ///< map: exclusive or of the pairs' hashes
  std::size_t end = 0;           ///< closure: where it must end
};

class Hasher {
 public:
  Hasher(std::string_view term, const Limits& limits) : input_(term), limits_(limits) {}

  Result<std::uint32_t> run() {
    do {
      if (!scan::read_head(input_, position_, item_)) return bad();
      position_ = item_.end;
      if (item_.kind == TermKind::record) {
        return make_error(
            ErrorCode::unsupported,
            "phash2 of a native record needs the VM that defines it; store its fields "
            "in a tuple or map instead");
      }
      take_term();
      if (stack_.size() > limits_.max_depth) {
        return make_error(
            ErrorCode::limit_exceeded,
            "the term nests deeper than " + std::to_string(limits_.max_depth) + " levels");
      }
      if (!advance()) return bad();
    } while (!done_);
    if (position_ != input_.size()) return bad();
    return hash_;
  }

 private:
  Error bad() const {
    return make_error(ErrorCode::malformed,
                      "byte " + std::to_string(position_) + " of the term can not be read");
  }

  void step(std::uint32_t x, std::uint32_t y, std::uint32_t k) {
    std::uint32_t a = k + x;
    std::uint32_t b = k + y;
    mix(a, b, hash_);
  }
  void step(std::uint32_t x, std::uint32_t k) { step(x, 0, k); }

  void nil() {
    if (hash_ == 0) {
      hash_ = kNilFromZero;
    } else {
      step(2, constant(2));
    }
  }

  void integer(const Integer& value) {
    constexpr std::uint64_t kSmall = std::uint64_t{1} << 27;
    if (value.big.empty() && (value.small < kSmall || (value.negative && value.small == kSmall))) {
      const auto magnitude = static_cast<std::uint32_t>(value.small);
      if (value.negative) step(magnitude, constant(1));
      step(value.negative ? -magnitude : magnitude, constant(1));
      return;
    }
    const std::uint32_t k = constant(value.negative ? 10 : 11);
    if (value.big.empty()) {
      step(static_cast<std::uint32_t>(value.small), static_cast<std::uint32_t>(value.small >> 32),
           k);
      return;
    }
    for (std::size_t at = 0; at < value.big.size(); at += 8) {
      std::uint64_t digit = 0;
      std::memcpy(&digit, value.big.data() + at, std::min<std::size_t>(8, value.big.size() - at));
      step(static_cast<std::uint32_t>(digit), static_cast<std::uint32_t>(digit >> 32), k);
    }
  }

  void floating(double value) {
    if (value == 0) value = 0;  // -0.0
    std::uint64_t raw = 0;
    std::memcpy(&raw, &value, 8);
    step(static_cast<std::uint32_t>(raw >> 32), static_cast<std::uint32_t>(raw), constant(12));
  }

  void bits(std::string_view bytes, std::uint8_t last_bits) {
    const std::uint32_t start = constant(13) + hash_;
    if (bytes.empty()) {
      hash_ = start;
      return;
    }
    const std::size_t whole = last_bits == 8 ? bytes.size() : bytes.size() - 1;
    hash_ = block(bytes.substr(0, whole), start);
    if (last_bits != 8) {
      step(last_bits, byte_at(bytes, whole) >> (8 - last_bits), constant(15));
    }
  }

  /// Hashes a leaf, or a container's head, whose children advance() then asks for.
  void take_term() {
    switch (item_.kind) {
      case TermKind::integer:
        return integer(item_.integer);
      case TermKind::floating:
        return floating(item_.floating);
      case TermKind::atom: {
        const std::uint32_t name = hash_name(item_.atom);
        if (hash_ == 0) {
          hash_ = name;
        } else {
          step(name, constant(3));
        }
        return;
      }
      case TermKind::nil:
        return nil();
      case TermKind::string:
        return string(item_.bytes);
      case TermKind::binary:
      case TermKind::bitstring:
        return bits(item_.bytes, item_.last_bits);
      case TermKind::pid:
        return step(static_cast<std::uint32_t>(item_.id), constant(5));
      case TermKind::port:
        return step(static_cast<std::uint32_t>(item_.id),
                    static_cast<std::uint32_t>(item_.id >> 32), constant(6));
      case TermKind::reference:
        return step(item_.words.word[0], constant(7));
      case TermKind::export_fun:
        step(item_.arity, hash_name(item_.atom), constant(1));
        return step(hash_name(item_.function), constant(14));
      case TermKind::tuple:
        step(item_.count, constant(9));
        return push(HashFrame::Kind::sequence, item_.count);
      case TermKind::list:
        return push(HashFrame::Kind::list, item_.count);
      case TermKind::map:
        step(item_.count, constant(16));
        if (item_.count > 0) {
          push(HashFrame::Kind::map, std::uint64_t{item_.count} * 2);
          stack_.top().outer_hash = hash_;
        }
        return;
      case TermKind::fun: {
        const Integer& uniq = item_.fun.old_uniq;
        const auto magnitude = static_cast<std::uint32_t>(uniq.small);
        step(item_.count, hash_name(item_.atom), constant(1));
        step(item_.fun.index, uniq.negative ? -magnitude : magnitude, constant(1));
        push(HashFrame::Kind::sequence, item_.count);
        stack_.top().end = item_.fun.end;
        return;
      }
      case TermKind::record:
      case TermKind::invalid:
        return;
    }
  }

  void push(HashFrame::Kind kind, std::uint64_t remaining) {
    HashFrame frame;
    frame.kind = kind;
    frame.remaining = remaining;
    stack_.push(frame);
  }

  void add_byte(std::uint32_t byte) {
    accumulated_ = (accumulated_ << 8) + byte;
    if (++accumulated_count_ == 4) flush();
  }
  void flush() {
    if (accumulated_count_ > 0) step(accumulated_, constant(4));
    accumulated_ = 0;
    accumulated_count_ = 0;
  }

  void string(std::string_view bytes) {
    for (const char c : bytes) add_byte(static_cast<unsigned char>(c));
    flush();
    nil();
  }

  /// Closes what is complete and stops before the next term to read; sets done_ at the end.
  bool advance() {
    for (;;) {
      if (stack_.empty()) {
        done_ = true;
        return true;
      }
      HashFrame& frame = stack_.top();
      switch (frame.kind) {
        case HashFrame::Kind::sequence:
          if (frame.remaining > 0) {
            --frame.remaining;
            return true;
          }
          if (frame.end != 0 && frame.end != position_) return false;
          stack_.pop();
          break;
        case HashFrame::Kind::map:
          if (frame.remaining % 2 == 0) {
            if (!frame.first) frame.pairs_hash ^= hash_;
            frame.first = false;
            hash_ = 0;
          }
          if (frame.remaining > 0) {
            --frame.remaining;
            return true;
          }
          hash_ = frame.outer_hash;
          step(frame.pairs_hash, constant(19));
          stack_.pop();
          break;
        case HashFrame::Kind::list: {
          bool closed = false;
          if (!advance_list(frame, closed)) return false;
          if (!closed) return true;
          break;
        }
      }
    }
  }

  /// Runs of bytes in a list are taken four at a time, also across headers of tails. Stops before a
  /// term to read, or closes the frame when the tail was a string.
  bool advance_list(HashFrame& frame, bool& closed) {
    for (;;) {
      if (!scan::read_head(input_, position_, item_)) return false;
      if (frame.remaining > 0) {
        --frame.remaining;
        if (item_.kind != TermKind::integer || !item_.integer.is_byte()) {
          flush();
          return true;
        }
        add_byte(static_cast<std::uint32_t>(item_.integer.small));
        position_ = item_.end;
      } else if (item_.kind == TermKind::list) {
        frame.remaining = item_.count;
        position_ = item_.end;
      } else if (item_.kind == TermKind::string) {
        position_ = item_.end;
        string(item_.bytes);
        stack_.pop();
        closed = true;
        return true;
      } else {
        flush();
        stack_.pop();
        return true;
      }
    }
  }

  std::string_view input_;
  Limits limits_;
  std::size_t position_ = 0;
  std::uint32_t hash_ = 0;
  std::uint32_t accumulated_ = 0;
  int accumulated_count_ = 0;
  bool done_ = false;
  Item item_;
  scan::SmallStack<HashFrame, 16> stack_;
};

std::size_t integer_size(const Integer& value) {
  if (value.big.empty()) {
    if (value.is_byte()) return 2;
    const std::uint64_t limit = (std::uint64_t{1} << 31) - (value.negative ? 0 : 1);
    if (value.small <= limit) return 5;
    std::size_t bytes = 0;
    for (std::uint64_t left = value.small; left != 0; left >>= 8) ++bytes;
    return 3 + bytes;
  }
  return (value.big.size() < 256 ? 3 : 6) + value.big.size();
}

std::size_t atom_size(const scan::AtomBytes& atom) {
  std::size_t bytes = atom.bytes.size();
  if (atom.latin1) {
    for (const char c : atom.bytes) bytes += static_cast<unsigned char>(c) >> 7;
  }
  return (bytes > 255 ? 3 : 2) + bytes;
}

/// One open container of external_size.
struct SizeFrame {
  std::uint64_t remaining = 0;
  std::size_t end = 0;
  bool list = false;
  bool all_bytes = true;    ///< list: every element so far is 0 to 255
  std::uint64_t count = 0;  ///< list: elements so far
};

class Sizer {
 public:
  Sizer(std::string_view term, const Limits& limits) : input_(term), limits_(limits) {}

  Result<std::size_t> run() {
    do {
      if (!scan::read_head(input_, position_, item_)) return bad();
      head_ = position_;
      position_ = item_.end;
      take_term();
      if (stack_.size() > limits_.max_depth) {
        return make_error(
            ErrorCode::limit_exceeded,
            "the term nests deeper than " + std::to_string(limits_.max_depth) + " levels");
      }
      if (!advance()) return bad();
    } while (!done_);
    if (position_ != input_.size()) return bad();
    return size_;
  }

 private:
  Error bad() const {
    return make_error(ErrorCode::malformed,
                      "byte " + std::to_string(position_) + " of the term can not be read");
  }

  void push(std::uint64_t remaining, std::size_t end = 0) {
    SizeFrame frame;
    frame.remaining = remaining;
    frame.end = end;
    stack_.push(frame);
  }

  void take_term() {
    if (!stack_.empty() && stack_.top().list) {
      SizeFrame& frame = stack_.top();
      frame.all_bytes &= item_.kind == TermKind::integer && item_.integer.is_byte();
    }
    switch (item_.kind) {
      case TermKind::integer:
        size_ += integer_size(item_.integer);
        break;
      case TermKind::floating:
        size_ += 9;
        break;
      case TermKind::atom:
        size_ += atom_size(item_.atom);
        break;
      case TermKind::nil:
        size_ += 1;
        break;
      case TermKind::string:
        size_ += item_.bytes.empty() ? 1 : 3 + item_.bytes.size();
        break;
      case TermKind::binary:
      case TermKind::bitstring:
        size_ += (item_.last_bits == 8 ? 5 : 6) + item_.bytes.size();
        break;
      case TermKind::pid:
      case TermKind::port:
        size_ += 13 + atom_size(item_.atom);
        break;
      case TermKind::reference:
        size_ += 7 + atom_size(item_.atom) + std::size_t{4} * item_.words.count;
        break;
      case TermKind::export_fun:
        size_ += 1 + atom_size(item_.atom) + atom_size(item_.function) + 2;
        break;
      case TermKind::tuple:
        size_ += item_.count < 256 ? 2 : 5;
        push(item_.count);
        break;
      case TermKind::map:
        size_ += 5;
        push(std::uint64_t{item_.count} * 2);
        break;
      case TermKind::list:
        push(item_.count);
        stack_.top().list = true;
        stack_.top().count = item_.count;
        break;
      case TermKind::fun:
        size_ += 30 + atom_size(item_.atom) + integer_size(item_.fun.old_index) +
                 integer_size(item_.fun.old_uniq) + 13 + atom_size(item_.pid_node);
        push(item_.count, item_.fun.end);
        break;
      case TermKind::record:
        // As it is: only OTP 29 and later write records, and always with UTF-8 names.
        size_ += item_.end - head_;
        push(item_.count);
        break;
      case TermKind::invalid:
        break;
    }
  }

  bool advance() {
    for (;;) {
      if (stack_.empty()) {
        done_ = true;
        return true;
      }
      SizeFrame& frame = stack_.top();
      if (frame.remaining > 0) {
        --frame.remaining;
        return true;
      }
      if (!frame.list) {
        if (frame.end != 0 && frame.end != position_) return false;
        stack_.pop();
        continue;
      }
      // The tail. A list or string there continues this list.
      if (!scan::read_head(input_, position_, item_)) return false;
      if (item_.kind == TermKind::list) {
        frame.remaining = item_.count;
        frame.count += item_.count;
        position_ = item_.end;
        continue;
      }
      if (item_.kind == TermKind::string || item_.kind == TermKind::nil) {
        position_ = item_.end;
        close_proper(frame, item_.kind == TermKind::string ? item_.bytes.size() : 0);
        stack_.pop();
        continue;
      }
      if (frame.count > 0) size_ += 5;
      stack_.pop();
      return true;
    }
  }

  /// The elements are counted already, 2 for each byte; `more` bytes follow in a STRING tail.
  void close_proper(const SizeFrame& frame, std::size_t more) {
    const std::uint64_t count = frame.count + more;
    if (count == 0) {
      size_ += 1;
    } else if (frame.all_bytes && count <= 0xffff) {
      size_ += 3 + count - 2 * frame.count;
    } else {
      size_ += 5 + 2 * more + 1;
    }
  }

  std::string_view input_;
  Limits limits_;
  std::size_t position_ = 0;
  std::size_t head_ = 0;  ///< where the head in item_ begins
  std::size_t size_ = 1;
  bool done_ = false;
  Item item_;
  scan::SmallStack<SizeFrame, 16> stack_;
};

}  // namespace

std::uint32_t phash2_binary(std::string_view bytes) {
  if (bytes.empty()) return constant(13) & kHashMask;
  return block(bytes, constant(13)) & kHashMask;
}

Result<std::uint32_t> phash2(std::string_view term, const Limits& limits) {
  if (term.size() >= 5 && byte_at(term, 0) == scan::kBinary &&
      scan::load32(term.data() + 1) == term.size() - 5) {
    return phash2_binary(term.substr(5));
  }
  auto hash = Hasher(term, limits).run();
  if (hash) return *hash & kHashMask;
  return hash;
}

Result<std::uint32_t> phash2(std::string_view term, std::uint64_t range, const Limits& limits) {
  if (range == 0 || range > (std::uint64_t{1} << 32)) {
    return make_error(ErrorCode::invalid_argument, "the range of phash2 must be from 1 to 2^32");
  }
  auto hash = Hasher(term, limits).run();
  if (hash) return static_cast<std::uint32_t>(*hash % range);
  return hash;
}

Result<std::size_t> external_size(std::string_view term, const Limits& limits) {
  if (term.size() >= 5 && byte_at(term, 0) == scan::kBinary &&
      scan::load32(term.data() + 1) == term.size() - 5) {
    return external_size_binary(term.size() - 5);
  }
  return Sizer(term, limits).run();
}

}  // namespace rakv::etf
