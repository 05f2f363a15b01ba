// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "raft/log/base/types.h"
#include "raft/log/disk/disk.h"

// Small files in a server's directory; ra ignores them. Two say what its log may be trusted with:
// they are written before what they warn of happens, and removed when it is over.

namespace rakv::raftlog {

/// Why a server may have forgotten what it promised: it must not vote until it has caught up
/// (raft/core/amnesia.cc). Kept as `amnesia`, so that another restart does not forget it.
struct AmnesiaMark {
  /// For people; one line.
  std::string reason;
  /// The stored term and vote may be older than what was promised.
  bool term_lost = false;
  bool operator==(const AmnesiaMark&) const = default;
};

/// Nothing when there is no such file. One that is damaged counts as the worst, not as an error.
Result<std::optional<AmnesiaMark>> read_amnesia(Disk& disk, const std::string& server_directory);
/// Durable when it returns, as the others.
Result<void> write_amnesia(Disk& disk, const std::string& server_directory,
                           const AmnesiaMark& amnesia);
Result<void> remove_amnesia(Disk& disk, const std::string& server_directory);

/// While live entries of a snapshot are taken in (`installing`): the member's own log ends at this
/// index or below. What follows it may look like a continuation of the log and is none: ra's
/// format has no sign for entries that came out of order.
Result<std::optional<Index>> read_install_mark(Disk& disk, const std::string& server_directory);
Result<void> write_install_mark(Disk& disk, const std::string& server_directory, Index own_log_end);
Result<void> remove_install_mark(Disk& disk, const std::string& server_directory);

/// What the member remembers of the other voters (raft/member/voter_identities.h), in bytes that
/// the log does not look into. Empty when there is no such file, or it is damaged.
Result<std::string> read_known_voters(Disk& disk, const std::string& server_directory);
Result<void> write_known_voters(Disk& disk, const std::string& server_directory,
                                const std::string& bytes);
/// Somebody else has run the server meanwhile.
Result<void> remove_known_voters(Disk& disk, const std::string& server_directory);

}  // namespace rakv::raftlog
