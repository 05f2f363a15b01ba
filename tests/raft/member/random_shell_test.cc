// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <random>

#include "raft/wire/ids.h"
#include "shell.h"

// A follower's shell under random leaders, votes, snapshots, held stores, restarts inside the
// process and crashes: what it acknowledged and voted is never lost, and its machine applies
// nothing else than what was committed. RAKV_SEED=n repeats one run, RAKV_RUNS says how many there
// are.

namespace rakv::member::testing {
namespace {

/// One run. A leader commits what kv acknowledges, and sometimes what the third member, which is
/// not shown, has instead.
class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : random_(seed) { meet(); }

  void step() {
    switch (draw(17)) {
      case 0:
      case 1:
      case 2:
        append(1 + draw(3));
        send();
        break;
      case 3:
        new_leader();
        send();
        break;
      case 4:
      case 5:
        send();
        break;
      case 6:
        shell_.hold.wal = draw(2) == 0;
        break;
      case 7:
        shell_.hold.worker = draw(2) == 0;
        break;
      case 8:
        shell_.hold.background = draw(2) == 0;
        break;
      case 9:
        restart();
        break;
      case 10:
        if (draw(2) == 0) crash();
        break;
      case 11:
        ask_for_vote();
        break;
      case 12:
        shell_.call(
            [](etf::Writer& writer) { writer.tuple(2).atom("aux_command").atom("snapshot"); });
        break;
      case 13:
        if (draw(3) == 0) send_snapshot();
        break;
      case 14:
      case 15:  // a new term whose store hangs, with what the leader sent after it
        shell_.run();
        shell_.hold.worker = true;
        new_leader();
        send();
        shell_.run();
        restart();
        break;
      case 16:
        if (draw(2) == 0) vote_that_hangs();
        break;
    }
    switch (draw(4)) {
      case 0:
        break;
      case 1:
        shell_.run_without_disk();
        break;
      default:
        shell_.run();
    }
    take_replies();
    check();
  }

  void end() {
    shell_.hold = {};
    shell_.run();
    if (shell_.member() == nullptr) shell_.start();
    ++term_;
    append(1);
    for (int i = 0; i < 20 && promised_ < log_.size(); ++i) {
      next_ = known() + 1;  // a refusal may only be repeated when a timer of 30 s fires
      send();
      shell_.run();
      take_replies();
      if (next_ <= shell_index()) send_snapshot();
      shell_.run();
      take_replies();
    }
    EXPECT_EQ(promised_, log_.size()) << "it does not catch up";
    send();
    shell_.run();
    check();
    crash();
  }

 private:
  struct Modelled {
    std::uint64_t term;
    std::string text;
  };
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  Peer& leader() { return *peers_[term_ % 2]; }
  std::uint64_t term_at(std::uint64_t index) const {
    return index == 0 || index > log_.size() ? 0 : log_[index - 1].term;
  }
  /// Up to where kv has what the leader has.
  std::uint64_t known() { return std::max(promised_, shell_index()); }
  std::uint64_t shell_index() {
    return shell_.log().snapshot() ? shell_.log().snapshot()->meta.index : 0;
  }

  void meet() {
    peers_[0] = std::make_unique<Peer>(shell_, "b");
    peers_[1] = std::make_unique<Peer>(shell_, "c");
    seen_ = {};
  }

  void append(std::uint64_t count) {
    for (; count > 0; --count) log_.push_back({term_, "t" + std::to_string(++texts_)});
  }

  /// It has everything that is committed, and some of the rest.
  void new_leader() {
    term_ += 1 + draw(3);
    while (log_.size() > committed_ && draw(2) == 0) log_.pop_back();
    append(1);
    if (draw(3) == 0) committed_ = log_.size();
    next_ = log_.size() + 1 - draw(std::min<std::uint64_t>(3, log_.size()));
    if (draw(2) == 0) next_ = known() + 1;
  }

  void send() {
    next_ = std::clamp<std::uint64_t>(next_, 1, log_.size() + 1);
    std::vector<raft::Entry> entries;
    for (std::uint64_t index = next_; index <= log_.size(); ++index)
      entries.push_back(user(index, term_at(index), log_[index - 1].text));
    leader().leads(term_, std::move(entries), next_ - 1, term_at(next_ - 1), committed_);
    if (draw(2) == 0) next_ = log_.size() + 1;  // it counts on that it arrives
  }

  void take_replies() {
    for (std::size_t who = 0; who < 2; ++who) {
      const auto& replies = peers_[who]->replies();
      for (; seen_[who] < replies.size(); ++seen_[who]) {
        const raft::AppendEntriesReply& reply = replies[seen_[who]];
        if (reply.term.value() != term_ || who != term_ % 2) continue;
        if (!reply.success) {
          // Where its log ends, if that is of this leader's log too; else what it has for sure.
          const bool agrees = term_at(reply.last_index.value()) == reply.last_term.value();
          next_ = agrees ? reply.next_index.value() : known() + 1;
          continue;
        }
        const std::uint64_t last = std::min<std::uint64_t>(reply.last_index.value(), log_.size());
        if (last != reply.last_index.value() || term_at(last) != reply.last_term.value()) continue;
        // Raft: entries of older terms are committed by one of the leader's own.
        if (term_at(last) == term_) committed_ = std::max(committed_, last);
        promised_ = std::max(promised_, std::min(last, committed_));
        next_ = std::max(next_, last + 1);
      }
    }
    for (auto vote = votes_.begin(); vote != votes_.end();) {
      if (!*vote->answer) {
        ++vote;
        continue;
      }
      if ((*vote->answer)->granted) {
        const auto [given, first] = voted_.emplace(vote->term, vote->who);
        EXPECT_EQ(given->second, vote->who) << "two votes in term " << vote->term;
      }
      vote = votes_.erase(vote);
    }
  }

  /// In terms that never have a leader, by candidates with everything.
  void ask_for_vote() {
    const std::uint64_t term = term_ + draw(3);
    if (term == term_) return;
    const std::size_t who = draw(2);
    ask(term, who);
    if (draw(2) == 0) ask(term, 1 - who);
    lead_above(term);
  }

  void ask(std::uint64_t term, std::size_t who) {
    votes_.push_back(
        {term, who, peers_[who]->asks_for_vote(term, log_.size(), term_at(log_.size()))});
  }

  void lead_above(std::uint64_t term) {
    reserved_ = std::max(reserved_, term);
    term_ = std::max(term_, reserved_ + 1);
    append(1);
  }

  /// The member is started again inside the process while its vote is being stored, and is asked
  /// again, perhaps by another candidate. Sometimes a power cut follows, and the next candidate of
  /// that term asks.
  void vote_that_hangs() {
    shell_.run();
    const std::uint64_t term = std::max(term_, reserved_) + 1;
    shell_.hold.worker = true;
    ask(term, draw(2));
    shell_.run();
    restart();
    if (shell_.member() == nullptr) shell_.start();
    ask(term, draw(2));
    shell_.run();
    take_replies();
    if (draw(2) == 0) {
      crash();
      ask(term, draw(2));
      shell_.run();
    }
    lead_above(term);
  }

  void send_snapshot() {
    if (committed_ == 0) return;
    HistoryMachine machine;
    for (std::uint64_t index = 1; index <= committed_; ++index) {
      CommandMeta command;
      command.index = index;
      machine.apply(command, etf::Writer().binary(log_[index - 1].text).view(), nullptr);
    }
    raftlog::StoredSnapshotMeta meta;
    meta.index = committed_;
    meta.term = term_at(committed_);
    etf::Writer cluster;
    cluster.version();
    raft::Cluster members;
    for (const char* name : {"kv", "b", "c"}) members.emplace(shell_.id(name), raft::PeerConfig{});
    wire::write_snapshot_cluster(cluster, members);
    meta.cluster = cluster.take();
    etf::Writer state;
    state.version();
    machine.write_state(state);
    leader().sends_snapshot(term_, raftlog::encode_snapshot_meta(meta), 1, raft::ChunkFlag::last,
                            {}, raftlog::encode_snapshot_file(meta, state.view()));
    next_ = committed_ + 1;
  }

  void restart() {
    if (shell_.member() == nullptr) return shell_.start();
    switch (draw(3)) {
      case 0:
        return shell_.kill();
      case 1:
        return shell_.stop();
      default:
        shell_.stop();
        shell_.start();
    }
  }

  void crash() {
    const raftlog::CrashMode modes[] = {raftlog::CrashMode::lose_unsynced,
                                        raftlog::CrashMode::keep_everything,
                                        raftlog::CrashMode::random};
    take_replies();
    votes_.clear();
    shell_.crash(modes[draw(3)], random_());
    meet();
    next_ = log_.size() + 1;
    for (std::uint64_t index = shell_index() + 1; index <= promised_; ++index) {
      ASSERT_EQ(shell_.log().term_at(index).value_or(0), term_at(index))
          << "entry " << index << " of " << promised_ << " that were acknowledged is lost";
    }
    for (const auto& [term, who] : voted_) {
      if (term < shell_.log().meta().term) continue;
      ASSERT_EQ(term, shell_.log().meta().term) << "a vote is forgotten";
      ASSERT_TRUE(shell_.log().meta().voted_for.has_value());
      ASSERT_EQ(shell_.log().meta().voted_for->name(), who == 0 ? "b" : "c");
    }
  }

  void check() {
    ASSERT_LE(shell_.log().meta().last_applied, committed_);
    const Member* member = shell_.member();
    if (member == nullptr) return;
    ASSERT_LE(member->last_applied().value(), committed_);
    ASSERT_LE(member->core().log().last_written().index.value(), shell_.log().last_written().index);
    std::string expected;
    for (std::uint64_t index = 1; index <= member->last_applied().value(); ++index) {
      if (!expected.empty()) expected += " ";
      expected += std::to_string(index) + ":" + log_[index - 1].text;
    }
    ASSERT_EQ(shell_.history(), expected);
  }

  struct Asked {
    std::uint64_t term;
    std::size_t who;
    Peer::Vote answer;
  };
  Shell shell_;
  std::mt19937_64 random_;
  std::array<std::unique_ptr<Peer>, 2> peers_;
  std::array<std::size_t, 2> seen_{};
  std::vector<Modelled> log_;  ///< of the leader
  std::uint64_t term_ = 1;
  std::uint64_t reserved_ = 0;
  std::uint64_t next_ = 1;
  std::uint64_t committed_ = 0;
  std::uint64_t promised_ = 0;  ///< of these, what kv acknowledged
  std::uint64_t texts_ = 0;
  std::vector<Asked> votes_;
  std::map<std::uint64_t, std::size_t> voted_;
};

TEST(RandomShell, NothingPromisedIsLost) {
  const char* seed_given = std::getenv("RAKV_SEED");
  const char* runs_given = std::getenv("RAKV_RUNS");
  const std::uint64_t first = seed_given != nullptr ? std::strtoull(seed_given, nullptr, 10) : 1;
  const std::uint64_t runs = seed_given != nullptr   ? 1
                             : runs_given != nullptr ? std::strtoull(runs_given, nullptr, 10)
                                                     : 100;
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    RandomRun run(seed);
    for (int i = 0; i < 80 && !HasFatalFailure(); ++i) run.step();
    if (!HasFatalFailure()) run.end();
    if (HasFailure()) {
      std::printf("RAKV_SEED=%llu\n", static_cast<unsigned long long>(seed));
      return;
    }
  }
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + runs - 1));
}

}  // namespace
}  // namespace rakv::member::testing
