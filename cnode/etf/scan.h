// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cnode/etf/cursor.h"
#include "cnode/etf/ids.h"

// Inside the etf module: one decoder of single heads of terms, which every walk over a term is
// built on.

namespace rakv::etf::scan {

/// Tag bytes of the external term format.
enum Tag : std::uint8_t {
  kRecord = 67,
  kNewFloat = 70,
  kBitBinary = 77,
  kCompressed = 80,
  kNewPort = 89,
  kNewPid = 88,
  kNewerReference = 90,
  kSmallInteger = 97,
  kInteger = 98,
  kFloat = 99,
  kAtom = 100,
  kReference = 101,
  kPort = 102,
  kPid = 103,
  kSmallTuple = 104,
  kLargeTuple = 105,
  kNil = 106,
  kString = 107,
  kList = 108,
  kBinary = 109,
  kSmallBig = 110,
  kLargeBig = 111,
  kNewFun = 112,
  kExport = 113,
  kNewReference = 114,
  kSmallAtom = 115,
  kMap = 116,
  kAtomUtf8 = 118,
  kSmallAtomUtf8 = 119,
  kV4Port = 120,
};

inline std::uint8_t byte_at(std::string_view bytes, std::size_t position) {
  return static_cast<std::uint8_t>(bytes[position]);
}
inline std::uint16_t load16(const char* from) {
  const auto* p = reinterpret_cast<const unsigned char*>(from);
  return static_cast<std::uint16_t>((p[0] << 8) | p[1]);
}
inline std::uint32_t load32(const char* from) {
  std::uint32_t value = 0;
  std::memcpy(&value, from, 4);
  return __builtin_bswap32(value);
}
inline std::uint64_t load64(const char* from) {
  std::uint64_t value = 0;
  std::memcpy(&value, from, 8);
  return __builtin_bswap64(value);
}
inline std::uint32_t load32_little(const char* from) {
  std::uint32_t value = 0;
  std::memcpy(&value, from, 4);
  return value;
}
inline std::uint64_t load64_little(const char* from) {
  std::uint64_t value = 0;
  std::memcpy(&value, from, 8);
  return value;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the loads above swap bytes");

/// An atom's name as it is in the bytes.
struct AtomBytes {
  std::string_view bytes;
  bool latin1 = false;  ///< true only when the name is Latin-1 and has bytes >= 128; otherwise
                        ///< `bytes` is UTF-8
};

/// An integer: `small` is the magnitude when `big` is empty; else `big` is the magnitude, little
/// endian, with more than 8 bytes and no zero byte at its end.
struct Integer {
  bool negative = false;
  std::uint64_t small = 0;
  std::string_view big;

  bool is_zero() const { return big.empty() && small == 0; }
  /// True and the value, when it fits.
  bool to_i64(std::int64_t& value) const;
  bool is_byte() const { return big.empty() && !negative && small < 256; }
};

/// The fixed part of a closure.
struct FunHead {
  std::uint8_t arity = 0;
  std::string_view uniq;  ///< 16 bytes
  std::uint32_t index = 0;
  Integer old_index;
  Integer old_uniq;
  std::size_t end = 0;  ///< where the closure must end, from its size field
};

/// The head of one term: a leaf wholly, a container up to its first child.
struct Item {
  TermKind kind = TermKind::invalid;
  std::size_t end = 0;  ///< just after the head
  std::uint32_t count =
      0;  ///< tuple: arity; list: elements; map: pairs; fun: free variables; record: values
  std::string_view bytes;  ///< binary, bitstring, string; record: raw name list (count atoms)
  std::uint8_t last_bits = 8;
  Integer integer;
  double floating = 0;
  AtomBytes atom;          ///< atom; module of a fun or record; node of an identifier
  AtomBytes function;      ///< function of an export; name of a record
  std::uint8_t arity = 0;  ///< export fun; flags of a record
  std::uint64_t id = 0;
  std::uint32_t serial = 0;
  std::uint32_t creation = 0;
  ReferenceWords words;
  AtomBytes pid_node;  ///< fun: node of its pid; id, serial, creation are the pid's too
  FunHead fun;
};

/// Decodes and validates the head at `position`. False when it is truncated, malformed or unknown;
/// `item` is then undefined. Fields that the kind does not name keep old values, so an Item may be
/// used again.
bool read_head(std::string_view input, std::size_t position, Item& item);

/// Reads an integer in any of its encodings; gives the position after it in `position`.
bool read_integer(std::string_view input, std::size_t& position, Integer& integer);

/// Reads an atom; gives the position after it in `position`.
bool read_atom(std::string_view input, std::size_t& position, AtomBytes& atom);

/// Whether `bytes` are UTF-8 of at most `max_characters` characters.
bool valid_utf8(std::string_view bytes, std::size_t max_characters);
bool is_ascii(std::string_view bytes);
/// Appends Latin-1 bytes as UTF-8.
void append_latin1(std::string& out, std::string_view latin1);
/// Appends one code point as UTF-8.
void append_utf8(std::string& out, std::uint32_t code_point);
/// Decodes one code point at `position` of valid or invalid UTF-8; false when invalid.
bool next_utf8(std::string_view text, std::size_t& position, std::uint32_t& code_point);

/// A stack whose first `kInline` entries need no allocation (and, not being used, no
/// initialisation).
template <class T, std::size_t kInline>
class SmallStack {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  T& top() { return size_ <= kInline ? inline_.items[size_ - 1] : spill_.back(); }
  void push(const T& value) {
    if (size_ < kInline) {
      inline_.items[size_] = value;
    } else {
      spill_.push_back(value);
    }
    ++size_;
  }
  void pop() {
    if (size_ > kInline) spill_.pop_back();
    --size_;
  }

 private:
  union Storage {
    Storage() {}  // NOLINT(modernize-use-equals-default): the items stay uninitialised
    T items[kInline];
  };

  Storage inline_;
  std::vector<T> spill_;
  std::size_t size_ = 0;
};

}  // namespace rakv::etf::scan
