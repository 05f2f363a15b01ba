// SPDX-License-Identifier: Apache-2.0
#include "raft/wire/record_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::wire {

namespace {

constexpr std::string_view kNumber = "an integer from 0 to 2^64 - 1";
constexpr std::string_view kEntries = "a list of {Index, Term, Command}";
constexpr std::string_view kAtoms = "a list of atoms";

/// A list's announced length is only trusted so far before its elements are there.
constexpr std::uint32_t kReservedEntries = 4096;

/// Members ask one another for a few facts by their names. In memory a name takes many times its
/// bytes.
constexpr std::uint32_t kMaxAtoms = 64;

/// What the entries of one message may take in memory besides their commands: an entry of 20 bytes
/// takes many times that. ra sends 128 in one message, and can be told to send more.
constexpr std::uint64_t kMaxTableBytes = std::uint64_t{8} << 20;
/// An entry and the block of its command; a member of a configuration with its names.
constexpr std::uint64_t kEntryBytes = sizeof(raft::Entry) + 48;
constexpr std::uint64_t kMemberBytes = 512;
constexpr std::string_view kFewerEntries = "fewer entries: their tables would take more than 8 MB";

SharedBytes with_version_byte(std::string_view command) {
  SharedBytes payload = SharedBytes::uninitialized(1 + command.size());
  payload.mutable_data()[0] = static_cast<char>(etf::kVersionMagic);
  std::memcpy(payload.mutable_data() + 1, command.data(), command.size());
  return payload;
}

}  // namespace

void RecordReader::fail(std::string_view field, std::string_view expected) {
  cursor_.fail();
  if (!failed_field_.empty()) return;
  failed_field_ = field;
  expected_ = expected;
}

Error RecordReader::error() const {
  const std::string_view expected = ok() ? "the end of the record" : expected_;
  std::string message = "a malformed ";
  message += record_;
  message += " was dropped (are all members' ra versions supported?): ";
  if (!ok()) {
    message += failed_field_;
    message += ' ';
  }
  message += cursor_.error(expected).message;
  return make_error(ErrorCode::malformed, std::move(message));
}

std::uint64_t RecordReader::number(std::string_view field) {
  return take(cursor_.u64(), field, kNumber);
}

bool RecordReader::boolean(std::string_view field) {
  return take(cursor_.boolean(), field, "true or false");
}

raft::ServerId RecordReader::server_id(std::string_view field) {
  return take(read_server_id(cursor_), field, "a server id {Name, Node}");
}

std::string_view RecordReader::any(std::string_view field) {
  return take(cursor_.skip(), field, "a term");
}

std::vector<std::string> RecordReader::atoms(std::string_view field) {
  std::vector<std::string> names;
  const std::uint32_t count = take(cursor_.list(), field, kAtoms);
  if (count > kMaxAtoms) fail(field, "a list of at most 64 atoms");
  for (std::uint32_t i = 0; i < count && ok(); ++i) {
    names.emplace_back(take(cursor_.atom(), field, kAtoms));
  }
  if (ok() && !cursor_.list_end(count)) fail(field, kAtoms);
  return names;
}

bool RecordReader::entry(std::string_view field, raft::Entry& entry) {
  if (!cursor_.tuple(3)) fail(field, kEntries);
  const raft::Index index = this->index(field);
  const raft::Term term = this->term(field);
  const std::string_view command = any(field);
  if (!ok()) return false;
  entry = to_core_entry(index, term, with_version_byte(command));
  return true;
}

std::vector<raft::Entry> RecordReader::entries(std::string_view field,
                                               std::optional<raft::Index> first) {
  std::vector<raft::Entry> read;
  const std::uint32_t count = take(cursor_.list(), field, kEntries);
  read.reserve(std::min(count, kReservedEntries));
  std::uint64_t table_bytes = count * kEntryBytes;
  for (std::uint32_t i = 0; i < count && ok(); ++i) {
    if (table_bytes > kMaxTableBytes) fail(field, kFewerEntries);
    raft::Entry next;
    if (!entry(field, next)) break;
    if (next.cluster != nullptr) table_bytes += next.cluster->size() * kMemberBytes;
    const bool in_order =
        first ? next.index == *first + i : read.empty() || read.back().index < next.index;
    if (!in_order) fail(field, "indexes in ascending order, without gaps where none may be");
    read.push_back(std::move(next));
  }
  if (ok() && !cursor_.list_end(count)) fail(field, kEntries);
  return read;
}

}  // namespace rakv::wire
