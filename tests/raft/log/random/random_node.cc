// SPDX-License-Identifier: Apache-2.0
#include "tests/raft/log/random/random_node.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "raft/log/wal/kept_records.h"
#include "raft/log/wal/wal_recovery.h"

namespace rakv::raftlog::testing {
namespace {

bool failed() { return ::testing::Test::HasFailure(); }

}  // namespace

RandomNode::RandomNode(std::uint64_t seed, RandomTotals& totals)
    : totals_(totals), random_(seed), faults_(memory_, random_, totals.errors) {
  own_background_ = one_in(random_, 2);
  if (one_in(random_, 2)) memory_.reserve_at_most(3000);
  if (one_in(random_, 2)) keep_superseded_ = std::chrono::milliseconds(20);
  wal_bytes_ = one_in(random_, 2) ? between(random_, 2'000, 12'000) : 256'000'000;
  segment_entries_ = static_cast<std::uint32_t>(between(random_, 3, 16));
}

RandomNode::~RandomNode() { end_process(); }

LogSystemOptions RandomNode::options() {
  LogSystemOptions options = small_options();
  options.wal.salt_seed = random_() | 1U;
  options.wal.max_size_bytes = wal_bytes_;
  options.wal.max_batch_entries = between(random_, 2, 20);
  options.segment.max_entries = segment_entries_;
  options.keep_superseded_for = keep_superseded_;
  options.now = [this] { return now_; };
  if (own_background_) options.background = &background_;
  return options;
}

void RandomNode::generation() {
  ++totals_.generations;
  if (one_in(random_, 3)) damage_a_server();
  while (!start(false) && !failed()) {
    crash();
    repair(false);
  }
  if (failed()) return;
  work();
  end_process();
  crash();
  repair(false);
}

void RandomNode::last_start() {
  repair(true);
  for (int again = 0; again < 2 && !failed(); ++again) {
    if (!start(true)) return;
    store_->settle();
    check_running();
    end_process();
    crash();
  }
}

// ---- starts

/// False when the process has come to its end in it.
bool RandomNode::start(bool well) {
  ++totals_.starts;
  disk_ = std::make_unique<FaultyDisk>(memory_);
  faults_.none();
  failing_server_.clear();
  const std::uint64_t way = well ? 0 : random_() % 8;
  if (way == 1) faults_.draw();
  if (way == 2) disk_->stop_at(between(random_, 1, 80));
  if (way == 3 && !servers_.empty()) {
    failing_server_ = servers_[random_() % servers_.size()]->uid;
    faults_.fail_server(failing_server_);
  }
  disk_->set_rule(faults_.rule());
  trace("start " + std::to_string(way));
  trace_disk();
  store_ = std::make_unique<Store>(*disk_, options(), kSystemDirectory);
  if (own_background_) store_->background = &background_;
  const bool disturbed = way != 0 && (faults_.any() || disk_->stopped());
  faults_.none();
  if (!store_->system || disk_->stopped()) {
    EXPECT_TRUE(disturbed) << (store_->error ? store_->error->message : "");
    ++(disk_->stopped() ? totals_.crashes_in_starts : totals_.failed_starts);
    end_process();
    return false;
  }
  check_all(disturbed);
  return !failed();
}

void RandomNode::check_all(bool disturbed) {
  for (const std::string& uid : deleted_) {
    EXPECT_EQ(store_->system->find(uid), nullptr) << uid << " is back";
    EXPECT_FALSE(store_->system->broken_servers().contains(uid)) << uid;
  }
  for (const ModelPtr& model : std::vector<ModelPtr>(servers_)) check_one(model, disturbed);
}

void RandomNode::check_one(const ModelPtr& model, bool disturbed) {
  const std::string& uid = model->uid;
  MemberLog* log = store_->system->find(uid);
  const bool broken = store_->system->broken_servers().contains(uid);
  if (const auto damage = damaged_.find(uid); damage != damaged_.end()) {
    EXPECT_TRUE(broken) << uid << ": damage was overlooked: " << damage->second.path;
    ++(damage->second.config ? totals_.broken_by_config : totals_.broken_by_segment);
    return;
  }
  if (broken) {
    EXPECT_TRUE(disturbed) << uid << ": " << store_->system->broken_servers().at(uid).message;
    ++totals_.broken_by_error;
    return;
  }
  if (log == nullptr) {
    EXPECT_TRUE(!model->registered || model->deletion_asked) << uid << " is gone";
    std::erase(servers_, model);
    return;
  }
  model->registered = true;
  model->deletion_asked = false;
  model->check_started(*log, disturbed);
  if (failed() || !log->snapshot() || log->snapshot()->live_indexes_known) return;
  ++totals_.live_found_anew;
  log->set_live_indexes(model->snapshot.live, [](const Result<void>&) {});
  store_->settle();
}

// ---- the work of one process, and its end

void RandomNode::work() {
  if (!one_in(random_, 4)) disk_->stop_at(disk_->operations() + between(random_, 1, 200));
  for (std::uint64_t steps = between(random_, 10, 80); steps > 0; --steps) {
    if (disk_->stopped() || failed()) return;
    if (one_in(random_, 8)) faults_.draw();
    if (one_in(random_, 16) && !servers_.empty())
      faults_.fail_segments(servers_[random_() % servers_.size()]->uid);
    step();
    progress();
    note_written();
  }
  if (disk_->stopped() || one_in(random_, 2)) return;
  faults_.none();
  store_->system->retry_wal();
  store_->system->flush_metadata([](const Result<void>&) {});
  store_->settle();
  note_written();
  if (disk_->stopped()) return;
  check_running();
  if (failed() || !one_in(random_, 3)) return;
  ++totals_.orderly_stops;
  if (store_->system->stop()) note_written();
}

void RandomNode::end_process() {
  if (store_ && store_->system) {
    totals_.records_kept += store_->watcher.segments_downs;
    for (const MemberLog* log : store_->system->members()) {
      totals_.segments_merged += log->compaction_counts().segments_compacted;
    }
  }
  store_.reset();
  background_.clear();
}

std::set<std::string> RandomNode::all_names() {
  std::set<std::string> names;
  const std::function<void(const std::string&)> add = [&](const std::string& directory) {
    const auto entries = memory_.list(directory);
    if (!entries) return;
    for (const auto& entry : *entries) {
      names.insert(directory + "/" + entry.name);
      if (entry.kind == DirectoryEntry::Kind::directory) add(directory + "/" + entry.name);
    }
  };
  add("/data");
  return names;
}

void RandomNode::crash() {
  const std::set<std::string> before = all_names();
  const std::uint64_t mode = random_() % 4;
  if (mode == 0) {
    ++totals_.kills;
    memory_.crash(CrashMode::keep_everything);
  } else if (mode == 1) {
    ++totals_.power_cuts;
    memory_.crash(CrashMode::lose_unsynced);
  } else {
    ++totals_.torn_power_cuts;
    memory_.crash(CrashMode::random, random_());
  }
  const std::set<std::string> after = all_names();
  std::vector<std::string> undone;
  std::set_symmetric_difference(before.begin(), before.end(), after.begin(), after.end(),
                                std::back_inserter(undone));
  totals_.names_undone += undone.size();
  trace("crash " + std::to_string(mode));
  for (const std::string& name : undone) {
    trace((before.contains(name) ? "  took back " : "  brought back ") + name);
  }
}

// ---- damage that is repaired later

void RandomNode::damage_a_server() {
  if (servers_.empty()) return;
  const ModelPtr& model = servers_[random_() % servers_.size()];
  if (!model->registered || model->deletion_asked || damaged_.contains(model->uid)) return;
  const std::string directory = kSystemDirectory + "/" + model->uid;
  Damage damage{directory + "/config", {}, true};
  const auto entries = memory_.list(directory);
  if (!entries) return;
  for (const auto& entry : *entries) {
    if (!entry.name.ends_with(".segment") || !one_in(random_, 2)) continue;
    damage.path = directory + "/" + entry.name;
    damage.config = false;
  }
  damage.original = read_file(memory_, damage.path).value();
  std::string bad = damage.original;
  if (damage.config) {
    bad = "no term";
  } else {
    if (bad.size() < 40) return;
    bad[between(random_, 8, 39)] ^= 0x20;  // of the first index record
  }
  ASSERT_TRUE(replace_file(memory_, damage.path, bad));
  trace("damage " + damage.path);
  damaged_[model->uid] = std::move(damage);
}

void RandomNode::repair(bool all) {
  std::erase_if(damaged_, [&](const auto& damage) {
    if (!all && !one_in(random_, 3)) return false;
    EXPECT_TRUE(replace_file(memory_, damage.second.path, damage.second.original));
    trace("repair " + damage.second.path);
    ++totals_.repaired;
    return true;
  });
}

void RandomNode::trace(const std::string& what) const {
  static const bool kOn = std::getenv("RAKV_TRACE") != nullptr;
  if (kOn) {
    std::printf("  %s (operation %llu)\n", what.c_str(),
                static_cast<unsigned long long>(disk_ ? disk_->operations() : 0));
  }
}

void RandomNode::trace_disk() {
  static const char* const kOf = std::getenv("RAKV_TRACE_DISK");
  if (kOf == nullptr || !memory_.exists(kSystemDirectory).value()) return;
  const auto print = [](const std::string& path, const auto& entries) {
    std::printf("    %s:", path.c_str());
    for (const Position& at : entries) {
      std::printf(" %llu/%llu", static_cast<unsigned long long>(at.index),
                  static_cast<unsigned long long>(at.term));
    }
    std::printf("\n");
  };
  for (const auto& file : memory_.list(kSystemDirectory).value()) {
    const std::string path = kSystemDirectory + "/" + file.name;
    if (!file.name.ends_with(".wal") && !file.name.ends_with(kKeptSuffix)) continue;
    std::vector<Position> entries;
    for (const WalRecord& record : read_wal(path, read_file(memory_, path).value()).records) {
      if (record.uid == kOf) entries.push_back({record.entry.index, record.entry.term});
    }
    print(path, entries);
  }
  const std::string directory = kSystemDirectory + "/" + kOf;
  if (!memory_.exists(directory).value()) return;
  for (const auto& file : memory_.list(directory).value()) {
    if (!file.name.ends_with(".segment")) continue;
    const std::string path = directory + "/" + file.name;
    const auto files = std::make_shared<SegmentFiles>(memory_, 1);
    const auto segment = Segment::open(memory_, path, 1, files);
    std::vector<Position> entries;
    if (segment) {
      for (const SegmentSlot& slot : (*segment)->slots())
        entries.push_back({slot.index, slot.term});
    }
    print(path, entries);
  }
}

void RandomTotals::print() const {
  const auto line = [](const char* what,
                       std::initializer_list<std::pair<const char*, std::uint64_t>> numbers) {
    std::printf("%s:", what);
    const char* separator = " ";
    for (const auto& [name, number] : numbers) {
      std::printf("%s%llu %s", separator, static_cast<unsigned long long>(number), name);
      separator = ", ";
    }
    std::printf("\n");
  };
  line("starts", {{"generations", generations},
                  {"starts", starts},
                  {"failed by an error", failed_starts},
                  {"crashed in it", crashes_in_starts}});
  line("ends", {{"power cuts that lose all unsynced", power_cuts},
                {"that lose a random part", torn_power_cuts},
                {"kills", kills},
                {"orderly stops before", orderly_stops},
                {"directory entries undone", names_undone}});
  line("broken servers at a start", {{"config", broken_by_config},
                                     {"segment index", broken_by_segment},
                                     {"error of the disk", broken_by_error},
                                     {"repairs", repaired}});
  line("log", {{"entries", entries},
               {"with checksum zero", checksum_zero},
               {"overwrites by a later term", overwrites},
               {"truncations", truncations},
               {"votes", votes},
               {"roll-overs", rollovers},
               {"records kept", records_kept},
               {"segments merged", segments_merged},
               {"servers made", servers_made},
               {"deleted", servers_deleted}});
  line("snapshots", {{"written", snapshots},
                     {"failed", snapshots_failed},
                     {"transfers begun", transfers},
                     {"with entries that the own snapshot lacks", transfers_below_own},
                     {"given up", transfers_given_up},
                     {"installed", installed},
                     {"of them late", installed_late},
                     {"failed installs", installs_failed},
                     {"refused as too old", installs_refused},
                     {"live indexes found anew", live_found_anew},
                     {"restarts inside the process", restarts_inside}});
  line("flipped bytes", {{"in all", flips},
                         {"stopped the node or a server", flips_refused},
                         {"were told as amnesia", flips_amnesia},
                         {"as an error of a read", flips_unreadable},
                         {"did no harm", flips_harmless}});
  std::printf("errors:");
  for (std::size_t i = 0; i < errors.size(); ++i) {
    std::printf("%s%llu %s", i == 0 ? " " : ", ", static_cast<unsigned long long>(errors.at(i)),
                name_of(static_cast<DiskOperation>(i)));
  }
  std::printf("\n");
}

}  // namespace rakv::raftlog::testing
