// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/result.h"
#include "cnode/etf/writer.h"
#include "kv/key_table.h"
#include "kv/state_capture.h"

// The ra_kv machine (ra_kv.erl; docs/protocol/wire.md 8): a map from key to the log index of its
// latest put and the hash of its value. The values themselves stay in the log: what the machine
// holds decides which entries are live.

namespace rakv::kv {

/// A user command of ra_kv, as views into the encoded command.
struct KvCommand {
  enum class Kind { put, remove };
  Kind kind = Kind::put;
  std::string_view key;    ///< the key as it came, encoded
  std::string_view value;  ///< put only: the encoded value
  std::string_view hash;   ///< put only: the encoded hash the client computed
};

/// Reads `{put, Key, Value, #{size, hash}}` or `{delete, Key}` (without version byte). Anything
/// else, a put whose meta map has no `hash` included, is ErrorCode::unsupported: BEAM replicas of
/// ra_kv crash on such commands, again on every replay, so a leader must refuse them before they
/// are appended (docs/protocol/wire.md 9.19). `size` is not used and need not be there, as in
/// ra_kv.
Result<KvCommand> parse_command(std::string_view data);

/// What applying a command says to the client.
enum class CommandOutcome {
  ok,         ///< `{ok, Meta}`
  not_found,  ///< `{error, not_found}`: a delete of a key that is not there
};

/// The machine's state. Keys compare by exact Erlang equality (1 and 1.0 are two keys), so they are
/// kept in canonical form (cnode/etf/canonical.h). Pure: no I/O, no clock; one instance belongs to
/// one member. Neither find() nor a put on a key that is there allocates when the key is plainly
/// canonical (a binary, a small integer, an atom).
class KvMachine {
 public:
  /// Carries out a command committed at `index`.
  CommandOutcome apply(std::uint64_t index, const KvCommand& command);

  /// The index of the entry that holds the key's latest value, 0 when the key is not there (0 is
  /// never a put). A key that is not a valid term is not there either.
  std::uint64_t find(std::string_view encoded_key) const;

  std::size_t key_count() const { return keys_.size(); }

  /// The indexes that must stay readable in the log, unordered: ra_kv:live_indexes/1.
  std::vector<std::uint64_t> live_indexes() const;

  /// `{put, Key, Value, #{size, hash}}`, without version byte, of the put whose entry is at a live
  /// index. not_found when no key has the index; corrupt when the value's hash is not the one that
  /// was put. Looks at every key.
  Result<std::string> command_at(std::uint64_t index, std::string_view value) const;

  /// `{ra_kv, #{Key => [Index|Hash]}}`, without the version byte; what ra's snapshots and `machine`
  /// queries hold.
  void write_state(etf::Writer& writer) const;

  /// Begins a copy of the state as it is now. One at a time; it ends before the machine does, and
  /// before read_state().
  std::unique_ptr<KvStateCapture> capture();

  /// Replaces the state by an encoded one (without version byte). On an error the state is left as
  /// it was: malformed when it is not a state of ra_kv, or has a key twice.
  Result<void> read_state(std::string_view state);

  /// `#{num_keys => N, live_indexes => [Index]}`: ra_kv:overview/1.
  void write_overview(etf::Writer& writer) const;

 private:
  void put(std::string_view key, std::uint64_t index, std::string_view hash);
  bool remove(std::string_view key);

  void write_slot(etf::Writer& writer, const KeyTable::Slot& slot) const;

  KeyTable keys_;
  KvStateCapture* capture_ = nullptr;  ///< under way
  /// Hashes that are not integers of 32 bits, encoded, by key: erlang:phash2/1 never makes one, but
  /// a raw ra command may.
  std::map<std::string, std::string, std::less<>> odd_hashes_;
};

}  // namespace rakv::kv
