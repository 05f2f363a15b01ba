// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/etf/cursor.h"
#include "raft/core/types.h"

// Inside the wire room: reading the fields of a record one after the other, with errors that name
// the field.

namespace rakv::wire {

/// Reads the fields after a record's tag. After the first field that can't be read all others
/// give nothing; error() tells which one it was.
class RecordReader {
 public:
  /// `cursor` stands after the tag.
  RecordReader(etf::Cursor& cursor, std::string_view record) : cursor_(cursor), record_(record) {}

  std::uint64_t number(std::string_view field);
  raft::Term term(std::string_view field) { return raft::Term(number(field)); }
  raft::Index index(std::string_view field) { return raft::Index(number(field)); }
  bool boolean(std::string_view field);
  raft::ServerId server_id(std::string_view field);
  /// Any term, encoded.
  std::string_view any(std::string_view field);
  /// A proper list of atoms.
  std::vector<std::string> atoms(std::string_view field);
  /// A proper list of `{Idx, Term, Cmd}`, ascending; without gaps from `first` on if it is given.
  /// No more than fit in 8 MB besides the bytes of their commands.
  std::vector<raft::Entry> entries(std::string_view field, std::optional<raft::Index> first);
  /// For values that have the right form but are not possible.
  void fail(std::string_view field, std::string_view expected);

  etf::Cursor& cursor() { return cursor_; }
  bool ok() const { return failed_field_.empty(); }
  /// All fields were read and nothing is left.
  bool finished() const { return ok() && cursor_.at_end(); }
  Error error() const;

 private:
  template <class T>
  T take(std::optional<T> value, std::string_view field, std::string_view expected) {
    if (!value) fail(field, expected);
    return std::move(value).value_or(T{});
  }
  bool entry(std::string_view field, raft::Entry& entry);

  etf::Cursor& cursor_;
  std::string_view record_;
  std::string_view failed_field_;
  std::string_view expected_;
};

}  // namespace rakv::wire
