// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/base/shared_bytes.h"
#include "raft/core/types.h"

// Words that every file of raft/log uses. Indexes and terms are plain integers here: the
// protocol's strong types live in raft/core, and the shell (raft/member) converts. A server's id is
// the same everywhere.

namespace rakv::raftlog {

using Index = std::uint64_t;
using Term = std::uint64_t;
using raft::ServerId;

/// One log entry. `payload` is the ETF of the command with its leading 131, exactly as stored on
/// disk.
struct StoredEntry {
  Index index = 0;
  Term term = 0;
  SharedBytes payload;
};

/// A place in a log: index and the term of the entry there. {0, 0} is "before the first entry".
struct Position {
  Index index = 0;
  Term term = 0;
  bool operator==(const Position&) const = default;
};

/// An inclusive run of indexes.
struct IndexRange {
  Index first = 0;
  Index last = 0;
  bool operator==(const IndexRange&) const = default;
};

/// An ETF term with its leading 131, kept as bytes by code that does not look into it.
using EncodedTerm = std::string;

/// The reserved UId of batch marks; no server may have it.
inline constexpr std::string_view kBatchMarkUid = "_CPPBATCH";

/// Told once how a durable operation ended. Always called on the owner's executor, never from
/// inside the call that started the operation.
using DoneCallback = std::function<void(Result<void>)>;

}  // namespace rakv::raftlog
