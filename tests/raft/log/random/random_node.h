// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/raft/log/member_model.h"
#include "tests/raft/log/random/random_faults.h"
#include "tests/raft/log/store.h"

namespace rakv::raftlog::testing {

/// What happened, over all seeds: a test that promises to try something can show that it did.
struct RandomTotals {
  std::uint64_t generations = 0;
  std::uint64_t starts = 0;
  std::uint64_t failed_starts = 0;
  std::uint64_t power_cuts = 0;
  std::uint64_t torn_power_cuts = 0;
  std::uint64_t kills = 0;
  std::uint64_t crashes_in_starts = 0;
  std::uint64_t orderly_stops = 0;
  std::uint64_t names_undone = 0;  ///< directory entries that a power cut took back
  std::uint64_t broken_by_config = 0;
  std::uint64_t broken_by_segment = 0;
  std::uint64_t broken_by_error = 0;
  std::uint64_t repaired = 0;
  std::uint64_t entries = 0;
  std::uint64_t checksum_zero = 0;
  std::uint64_t overwrites = 0;
  std::uint64_t truncations = 0;
  std::uint64_t votes = 0;
  std::uint64_t snapshots = 0;
  std::uint64_t snapshots_failed = 0;
  std::uint64_t transfers = 0;
  std::uint64_t transfers_below_own = 0;
  std::uint64_t transfers_given_up = 0;
  std::uint64_t installed = 0;
  std::uint64_t installed_late = 0;
  std::uint64_t installs_failed = 0;
  std::uint64_t installs_refused = 0;
  std::uint64_t live_found_anew = 0;
  std::uint64_t restarts_inside = 0;
  std::uint64_t rollovers = 0;
  std::uint64_t records_kept = 0;  ///< of servers whose directories took no segments
  std::uint64_t segments_merged = 0;
  std::uint64_t servers_made = 0;
  std::uint64_t servers_deleted = 0;
  std::uint64_t flips = 0;
  std::uint64_t flips_refused = 0;     ///< the node or a server does not start
  std::uint64_t flips_amnesia = 0;     ///< a server says that it may have lost something
  std::uint64_t flips_unreadable = 0;  ///< reading says so
  std::uint64_t flips_harmless = 0;
  RandomFaults::Counts errors{};

  void print() const;
};

/// One node with several servers on a disk that fails and crashes, all of it drawn from one seed.
class RandomNode {
 public:
  RandomNode(std::uint64_t seed, RandomTotals& totals);
  ~RandomNode();
  /// A start, some work, and the end of the process. What was acknowledged before is checked.
  void generation();
  /// All is repaired, and the disk is well.
  void last_start();
  /// After last_start(): a byte of some file is another one. Whatever that costs is said.
  void flip_a_byte();

 private:
  using ModelPtr = std::shared_ptr<MemberModel>;
  /// A file that was damaged, to be put back as it was.
  struct Damage {
    std::string path;
    std::string original;
    bool config = false;
  };

  // random_node.cc: processes
  LogSystemOptions options();
  bool start(bool well);
  void check_all(bool disturbed);
  void check_one(const ModelPtr& model, bool disturbed);
  void work();
  void end_process();
  void crash();
  std::set<std::string> all_names();
  void damage_a_server();
  void repair(bool all);
  std::vector<std::string> all_files();

  // random_steps.cc: what a process does
  void step();
  void step_of_system();
  void step_of(const ModelPtr& model, MemberLog& log);
  void progress();
  void note_written();
  void check_running();
  void replicate(MemberModel& model, MemberLog& log);
  void truncate(MemberModel& model, MemberLog& log);
  void vote(const ModelPtr& model, MemberLog& log);
  void apply(const ModelPtr& model, MemberLog& log);
  void snapshot(const ModelPtr& model, MemberLog& log);
  IndexSet draw_live(const MemberModel& model, const MemberLog& log, Index index);
  void transfer(const ModelPtr& model, MemberLog& log);
  void begin_transfer(MemberModel& model, const MemberLog& log);
  void send_entries(MemberModel& model, MemberLog& log);
  void finish_transfer(const ModelPtr& model, MemberLog& log);
  void give_up_transfer(MemberModel& model, MemberLog& log);
  void start_again_inside(const ModelPtr& model, MemberLog& log);
  void make_server();
  void delete_server(const ModelPtr& model);
  void trace(const std::string& what) const;
  /// What files have of the server (by UId) that RAKV_TRACE_DISK names.
  void trace_disk();

  RandomTotals& totals_;
  Random random_;
  MemoryDisk memory_;
  RandomFaults faults_;
  std::unique_ptr<FaultyDisk> disk_;
  ManualExecutor background_;
  bool own_background_ = false;
  std::unique_ptr<Store> store_;
  std::chrono::milliseconds now_{0};
  std::chrono::milliseconds keep_superseded_{0};
  std::uint64_t wal_bytes_ = 0;
  std::uint32_t segment_entries_ = 0;
  std::uint64_t steps_ = 0;

  std::vector<ModelPtr> servers_;
  std::set<std::string> deleted_;          // UIds, acknowledged
  std::map<std::string, Damage> damaged_;  // by UId
  std::string failing_server_;             // at this start
  int next_server_ = 0;
};

}  // namespace rakv::raftlog::testing
