// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "cnode/base/executor.h"
#include "cnode/base/lifetime.h"
#include "cnode/base/result.h"
#include "raft/log/disk/disk.h"

namespace rakv::raftlog {

/// What every part of a system's log stands on: the disk, the executors whose jobs wait for it, the
/// owner's thread, to which outcomes come back, and where errors of background jobs are told.
///
/// Used on the owner's thread. The executors outlive it.
class LogContext {
 public:
  /// `worker` runs the short jobs, `background` the long ones; they may be the same. Both run their
  /// jobs one at a time, in order. `report` gets errors that nobody waits for, on the owner's
  /// thread. `release_memory` may be empty.
  LogContext(Disk& disk, Executor& owner, Executor& worker, Executor& background,
             std::function<void(const Error&)> report, std::function<void()> release_memory)
      : disk_(disk),
        owner_(owner),
        worker_(worker),
        background_(background),
        report_(std::move(report)),
        release_memory_(std::move(release_memory)) {}

  Disk& disk() const { return disk_; }
  Executor& owner() const { return owner_; }
  Executor& worker() const { return worker_; }
  Executor& background() const { return background_; }

  /// Runs `job` on `executor`, then `then` with its outcome on the owner, unless this has ended
  /// meanwhile. `job` runs on another thread: it must not touch what belongs to the owner.
  template <class Job, class Then>
  void run_on(Executor& executor, Job job, Then then) {
    executor.post([watch = lifetime_.watch(), &owner = owner_, job = std::move(job),
                   then = std::move(then)]() mutable {
      if (watch.over()) return;
      auto outcome = std::make_shared<decltype(job())>(job());
      owner.post([watch, outcome, then = std::move(then)]() mutable {
        if (!watch.over()) then(std::move(*outcome));
      });
    });
  }
  /// Sees end().
  Lifetime::Watch watch() const { return lifetime_.watch(); }
  /// Runs `job` on the owner, later, unless this has ended by then.
  template <class Job>
  void post(Job job) {
    owner_.post(lifetime_.guard(std::move(job)));
  }

  void report(const Error& error) const { report_(error); }
  /// Many entries have left memory: what is free goes back to the operating system.
  void release_memory_soon() {
    if (release_memory_) background_.post(release_memory_);
  }
  /// Jobs that have not begun do not run any more, and outcomes do not come back.
  void end() { lifetime_.end(); }

 private:
  Disk& disk_;
  Executor& owner_;
  Executor& worker_;
  Executor& background_;
  std::function<void(const Error&)> report_;
  std::function<void()> release_memory_;
  Lifetime lifetime_;
};

}  // namespace rakv::raftlog
