// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/raft/log/random/random_node.h"

// What the processes of a RandomNode do. A step asks for something; how far that comes before the
// next step is chance.

namespace rakv::raftlog::testing {

void RandomNode::progress() {
  if (one_in(random_, 3)) return store_->settle();
  for (std::uint64_t left = random_() % 12; left > 0; --left) {
    switch (random_() % 4) {
      case 0:
        store_->owner.run_one();
        break;
      case 1:
        store_->worker.run_one();
        break;
      case 2:
        background_.run_one();
        break;
      default:
        store_->system->wal_writer().run_one_batch();
    }
  }
}

void RandomNode::note_written() {
  for (const ModelPtr& model : servers_) {
    if (const MemberLog* log = store_->system->find(model->uid)) model->note_written(*log);
  }
}

void RandomNode::check_running() {
  for (const ModelPtr& model : servers_) {
    const MemberLog* log = store_->system->find(model->uid);
    if (log != nullptr && !model->installing) model->check_running(*log);
  }
}

void RandomNode::step() {
  ++steps_;
  now_ += std::chrono::milliseconds(random_() % 4);
  std::vector<ModelPtr> running;
  for (const ModelPtr& model : servers_) {
    if (store_->system->find(model->uid) != nullptr) running.push_back(model);
  }
  if (running.empty() || one_in(random_, 5)) return step_of_system();
  const ModelPtr model = running[random_() % running.size()];
  step_of(model, *store_->system->find(model->uid));
}

void RandomNode::step_of_system() {
  switch (random_() % 8) {
    case 0:
    case 1:
      trace("roll over");
      ++totals_.rollovers;
      return store_->system->roll_over_wal();
    case 2:
      return store_->system->retry_wal();
    case 3:
      return store_->system->flush_metadata([](const Result<void>&) {});
    case 4:
      return store_->system->drop_superseded();
    case 5:
      if (one_in(random_, 4) && !servers_.empty()) {
        return delete_server(servers_[random_() % servers_.size()]);
      }
      return;
    default:
      return make_server();
  }
}

void RandomNode::step_of(const ModelPtr& model, MemberLog& log) {
  if (model->settling) return;
  const std::uint64_t what = random_() % 20;
  if (what == 0) return start_again_inside(model, log);
  if (model->installing) return;
  if (model->transfer && !one_in(random_, 5)) return transfer(model, log);
  if (what <= 6) return replicate(*model, log);
  if (what <= 8) return vote(model, log);
  if (what == 9) return truncate(*model, log);
  if (what <= 11) return model->cluster.commit(random_);
  if (what == 12) return apply(model, log);
  if (what <= 14) return snapshot(model, log);
  if (what <= 18) return transfer(model, log);
  log.trigger_major_compaction();
}

// ---- servers

void RandomNode::make_server() {
  if (servers_.size() >= 3) return;
  const std::string number = std::to_string(next_server_++);
  auto model = std::make_shared<MemberModel>();
  model->name = "kv" + number;
  model->uid = "KV" + std::string(4 - std::min<std::size_t>(number.size(), 4), 'A') + number;
  servers_.push_back(model);
  trace("make " + model->uid);
  store_->system->register_server(config(model->name, model->uid), [this, model](const auto& made) {
    if (made) ++totals_.servers_made;
    model->registered |= made.has_value();
  });
}

void RandomNode::delete_server(const ModelPtr& model) {
  if (store_->system->find(model->uid) == nullptr) return;
  trace("delete " + model->uid);
  model->deletion_asked = true;
  store_->system->delete_server(model->uid, [this, model](const Result<void>& done) {
    trace("deleted " + model->uid + (done ? "" : " not"));
    if (!done) return;
    ++totals_.servers_deleted;
    deleted_.insert(model->uid);
    std::erase(servers_, model);
  });
}

void RandomNode::start_again_inside(const ModelPtr& model, MemberLog& log) {
  trace(model->uid + " starts again inside the process");
  model->settling = true;
  log.when_settled([this, model] {
    ++totals_.restarts_inside;
    model->settling = false;
    model->transfer.reset();
  });
}

// ---- the log

void RandomNode::replicate(MemberModel& model, MemberLog& log) {
  if (model.stored.term < model.cluster.leader_term()) return;
  const Index matched = model.matched();
  if (model.cluster.end() == matched) model.cluster.extend(between(random_, 1, 6));
  const Index last = std::min(model.cluster.end(), matched + between(random_, 1, 8));
  totals_.overwrites += matched < model.own_end();
  totals_.entries += last - matched;
  if (model.transfer) give_up_transfer(model, log);
  trace(model.uid + " append " + std::to_string(matched + 1) + " to " + std::to_string(last) +
        ", last term " + std::to_string(model.cluster.term_of(last)));
  model.append(matched + 1, last);
  std::vector<StoredEntry> entries;
  for (Index index = matched + 1; index <= last; ++index) {
    const Term term = model.cluster.term_of(index);
    totals_.checksum_zero += has_adler_zero(model.uid, index, term);
    entries.push_back(cluster_entry(model.uid, index, term));
  }
  log.append(std::move(entries));
}

void RandomNode::truncate(MemberModel& model, MemberLog& log) {
  const Index matched = model.matched();
  if (model.own_end() <= matched) return;
  ++totals_.truncations;
  if (model.transfer) give_up_transfer(model, log);
  trace(model.uid + " truncate after " + std::to_string(matched));
  model.truncate_after(matched);
  log.truncate_after(matched);
}

void RandomNode::vote(const ModelPtr& model, MemberLog& log) {
  StoredVote vote = model->asked.empty() ? model->stored : model->asked.back();
  const std::optional<ServerId> someone =
      ServerId{model->name, one_in(random_, 2) ? "a@host" : "b@host"};
  if (vote.term > 0 && !vote.voted_for && one_in(random_, 4)) {
    vote.voted_for = someone;
  } else {
    while (model->cluster.leader_term() <= vote.term) model->cluster.elect(random_);
    vote = {model->cluster.leader_term(), one_in(random_, 2) ? someone : std::nullopt};
  }
  trace(model->uid + " vote in term " + std::to_string(vote.term));
  model->asked.push_back(vote);
  store_->system->store_term_vote(
      log.uid(), vote.term, vote.voted_for, [this, model, vote](const Result<void>& stored) {
        const auto at = std::find(model->asked.begin(), model->asked.end(), vote);
        if (!stored || at == model->asked.end()) return;
        ++totals_.votes;
        model->stored = vote;
        model->asked.erase(model->asked.begin(), at + 1);
      });
}

void RandomNode::apply(const ModelPtr& model, MemberLog& log) {
  const Index index =
      std::min({model->cluster.committed(), model->matched(), log.last_written().index});
  if (index <= model->last_applied) return;
  store_->system->note_last_applied(model->uid, index);
  store_->system->flush_metadata([model, index](const Result<void>& done) {
    if (done) model->last_applied = std::max(model->last_applied, index);
  });
}

// ---- snapshots

IndexSet RandomNode::draw_live(const MemberModel& model, const MemberLog& log, Index index) {
  std::vector<Index> live;
  const std::uint64_t every = between(random_, 2, 6);
  for (Index i = 1; i <= index; ++i) {
    const bool there = i > model.snapshot.index || model.snapshot.live.contains(i);
    if (there && one_in(random_, every) && log.has(i)) live.push_back(i);
  }
  return IndexSet::of(live);
}

void RandomNode::snapshot(const ModelPtr& model, MemberLog& log) {
  const Index known =
      std::min({model->cluster.committed(), model->matched(), log.last_written().index});
  if (known <= model->snapshot.index || log.snapshot_in_progress()) return;
  const Index index = between(random_, model->snapshot.index + 1, known);
  const SnapshotModel made{index, model->cluster.term_of(index), draw_live(*model, log, index)};
  trace(model->uid + " snapshot at " + std::to_string(index));
  model->attempts.push_back(made);
  log.write_snapshot(snapshot_meta(made.index, made.term), payload("state"), made.live,
                     [this, model, made](const Result<void>& done) {
                       trace(model->uid + " snapshot at " + std::to_string(made.index) +
                             (done ? " written" : " failed: " + done.error().message));
                       ++(done ? totals_.snapshots : totals_.snapshots_failed);
                       if (!done) return;
                       model->snapshot = made;
                       std::erase_if(model->attempts, [&](const SnapshotModel& one) {
                         return one.index <= made.index;
                       });
                     });
}

void RandomNode::transfer(const ModelPtr& model, MemberLog& log) {
  if (model->stored.term < model->cluster.leader_term()) return;
  if (!model->transfer) return begin_transfer(*model, log);
  if (one_in(random_, 30)) return give_up_transfer(*model, log);
  if (!model->transfer->unsent.empty()) return send_entries(*model, log);
  finish_transfer(model, log);
}

/// Mostly newer than the member's own snapshot; else it is refused in the end.
void RandomNode::begin_transfer(MemberModel& model, const MemberLog& log) {
  const Index committed = model.cluster.committed();
  const Index own = model.snapshot.index;
  if (committed == 0 || (committed <= own && !one_in(random_, 4))) return;
  const Index lowest = one_in(random_, 8) ? std::max<Index>(own, 3) - 2 : own + 1;
  if (lowest > committed) return;
  Transfer begun;
  begun.snapshot.index = between(random_, lowest, committed);
  begun.snapshot.term = model.cluster.term_of(begun.snapshot.index);
  const std::uint64_t every = between(random_, 2, 8);
  for (Index i = 1; i <= begun.snapshot.index; ++i) {
    if (!one_in(random_, every)) continue;
    begun.unsent.push_back(i);
    begun.below_own |= i <= own && !log.has(i);
  }
  begun.snapshot.live = IndexSet::of(begun.unsent);
  trace(model.uid + " transfer of a snapshot at " + std::to_string(begun.snapshot.index));
  ++totals_.transfers;
  totals_.transfers_below_own += begun.below_own;
  model.transfer = std::move(begun);
}

void RandomNode::send_entries(MemberModel& model, MemberLog& log) {
  auto& unsent = model.transfer->unsent;
  const auto count =
      static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(unsent.size(), between(random_, 1, 6)));
  const std::vector<Index> sent(unsent.begin(), unsent.begin() + count);
  unsent.erase(unsent.begin(), unsent.begin() + count);
  std::vector<StoredEntry> entries;
  entries.reserve(sent.size());
  for (const Index index : sent) {
    entries.push_back(cluster_entry(model.uid, index, model.cluster.term_of(index)));
  }
  trace(model.uid + " live entries " + std::to_string(sent.front()) + " to " +
        std::to_string(sent.back()));
  model.bring(sent);
  log.write_sparse(std::move(entries));
}

void RandomNode::finish_transfer(const ModelPtr& model, MemberLog& log) {
  if (log.pending_writes() > 0 || log.snapshot_in_progress()) return;
  const SnapshotModel wanted = model->transfer->snapshot;
  for (const Index index : wanted.live.indexes()) {
    if (log.has_for_install(index)) continue;
    // The log had it, until an own snapshot, for which it is not live, was done.
    EXPECT_LE(index, model->snapshot.index) << model->uid;
    return give_up_transfer(*model, log);
  }
  trace(model->uid + " install " + std::to_string(wanted.index));
  const bool newer = wanted.index > model->snapshot.index;
  if (newer) model->attempts.push_back(wanted);
  model->installing = true;
  log.install_snapshot(snapshot_meta(wanted.index, wanted.term), payload("state"), wanted.live,
                       [this, model, wanted, newer, asked = steps_](const Result<void>& done) {
                         trace(model->uid + " install " + std::to_string(wanted.index) +
                               (done ? " done" : " failed: " + done.error().message));
                         model->installing = false;
                         if (!done) {
                           ++(newer ? totals_.installs_failed : totals_.installs_refused);
                           model->transfer.reset();
                           return;
                         }
                         EXPECT_TRUE(newer);
                         ++totals_.installed;
                         totals_.installed_late += steps_ > asked;
                         model->install(wanted);
                       });
}

void RandomNode::give_up_transfer(MemberModel& model, MemberLog& log) {
  trace(model.uid + " transfer given up");
  ++totals_.transfers_given_up;
  model.transfer.reset();
  if (one_in(random_, 2)) log.drop_sparse();  // else the next append does it
}

}  // namespace rakv::raftlog::testing
