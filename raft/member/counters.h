// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

// The counters of a member: one table of ra's fields (ra.hrl RA_COUNTER_FIELDS) feeds ra_counters,
// key metrics and, later, metrics pages.

namespace rakv::member {

#define RAKV_COUNTERS(X)                                                                \
  X(aer_received_follower, "append_entries_rpcs received as follower")                  \
  X(aer_received_follower_empty, "of these, without entries")                           \
  X(aer_replies_fail, "append_entries refused by this member")                          \
  X(aer_replies_success, "append_entries accepted by this member")                      \
  X(aux_commands, "aux commands handled")                                               \
  X(checkpoint_bytes_written, "bytes of checkpoints (never: none are made)")            \
  X(checkpoint_index, "index of the newest checkpoint")                                 \
  X(checkpoints, "checkpoint effects")                                                  \
  X(checkpoints_promoted, "checkpoints promoted to snapshots")                          \
  X(checkpoints_written, "checkpoints written")                                         \
  X(command_flushes, "batches of low-priority commands appended")                       \
  X(commands, "commands received as leader")                                            \
  X(commit_index, "commit index")                                                       \
  X(commit_latency, "milliseconds from append to apply of the last own command")        \
  X(consistent_queries, "consistent reads received as leader")                          \
  X(dropped_sends, "messages to peers dropped because the connection was full or gone") \
  X(effective_machine_version, "machine version in force")                              \
  X(elections, "elections started")                                                     \
  X(fetch_term, "term look-ups in the log")                                             \
  X(forced_gcs, "forced garbage collections (never here)")                              \
  X(invalid_reply_mode_commands, "commands refused because of their reply mode")        \
  X(last_applied, "index the machine stands at")                                        \
  X(last_index, "last index of the log")                                                \
  X(last_written_index, "last durable index of the log")                                \
  X(local_queries, "local queries answered")                                            \
  X(major_compaction_segments_compacted, "segments merged away by major compactions")   \
  X(major_compaction_segments_written, "segments written by major compactions")         \
  X(major_compactions, "major compactions")                                             \
  X(minor_compactions, "minor compactions")                                             \
  X(msgs_sent, "messages to peers")                                                     \
  X(num_segments, "segment files")                                                      \
  X(open_segments, "segment files held open")                                           \
  X(pre_vote_elections, "pre-votes started")                                            \
  X(read_cache, "entries read from a cache (never here)")                               \
  X(read_closed_mem_tbl, "entries read from closed memory tables (never here)")         \
  X(read_mem_table, "entries read from memory")                                         \
  X(read_ops, "read operations on the log")                                             \
  X(read_segment, "entries read from segment files")                                    \
  X(release_cursors, "release cursors received")                                        \
  X(reserved_1, "unused")                                                               \
  X(reserved_2, "unused")                                                               \
  X(rpcs_sent, "Raft messages to peers")                                                \
  X(send_msg_effects_sent, "messages sent for the machine (never: machines send none)") \
  X(snapshot_bytes_written, "bytes of snapshots written")                               \
  X(snapshot_index, "index of the newest snapshot, -1 without one")                     \
  X(snapshot_installed, "snapshots received and installed")                             \
  X(snapshots_sent, "snapshots sent")                                                   \
  X(snapshots_written, "snapshots written")                                             \
  X(term, "current term")                                                               \
  X(term_and_voted_for_updates, "changes of term or vote made durable")                 \
  X(write_ops, "append operations on the log")                                          \
  X(write_resends, "entries given to the WAL again after it failed")

enum class Counter : std::size_t {
#define RAKV_COUNTER_NAME(name, help) name,
  RAKV_COUNTERS(RAKV_COUNTER_NAME)
#undef RAKV_COUNTER_NAME
      count_
};

inline constexpr std::size_t kCounterCount = static_cast<std::size_t>(Counter::count_);

struct CounterField {
  std::string_view name;
  std::string_view help;
};
inline constexpr std::array<CounterField, kCounterCount> kCounterFields = {{
#define RAKV_COUNTER_FIELD(name, help) CounterField{#name, help},
    RAKV_COUNTERS(RAKV_COUNTER_FIELD)
#undef RAKV_COUNTER_FIELD
}};

/// What ra:key_metrics/1 tells, beside state and membership.
inline constexpr std::array kKeyMetrics = {Counter::last_applied,
                                           Counter::commit_index,
                                           Counter::snapshot_index,
                                           Counter::last_written_index,
                                           Counter::last_index,
                                           Counter::commit_latency,
                                           Counter::term};

/// The values of one member's counters. They outlive the member within a run of the node, as in ra.
class Counters {
 public:
  Counters() { set(Counter::snapshot_index, -1); }
  void add(Counter counter, std::int64_t amount = 1) { at(counter) += amount; }
  void set(Counter counter, std::int64_t value) { at(counter) = value; }
  std::int64_t get(Counter counter) const { return values_[static_cast<std::size_t>(counter)]; }
  std::int64_t get(std::size_t position) const { return values_[position]; }

  /// The position of a field by its name in ra.
  static std::optional<std::size_t> find(std::string_view name) {
    for (std::size_t i = 0; i < kCounterCount; ++i) {
      if (kCounterFields[i].name == name) return i;
    }
    return std::nullopt;
  }

 private:
  std::int64_t& at(Counter counter) { return values_[static_cast<std::size_t>(counter)]; }
  std::array<std::int64_t, kCounterCount> values_{};
};

}  // namespace rakv::member
