// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace rakv {

/// Something that runs jobs in the order they were posted: the owner's io_context, a worker thread,
/// or a queue that a test or the simulator empties by hand. post() may be called from any thread
/// unless the maker says otherwise.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void post(std::function<void()> job) = 0;
};

/// The Executor of tests and simulators, for one thread: nothing runs until run_one() or run_all()
/// is called.
class ManualExecutor final : public Executor {
 public:
  void post(std::function<void()> job) override { jobs_.push_back(std::move(job)); }
  /// Runs the oldest job; false when there was none.
  bool run_one();
  /// Runs jobs until none is left (also those posted meanwhile); gives their number.
  std::size_t run_all();
  std::size_t size() const { return jobs_.size(); }
  /// Drops all jobs (a simulated crash).
  void clear() { jobs_.clear(); }

 private:
  std::deque<std::function<void()>> jobs_;
};

/// One thread that runs jobs in order: the log's worker for everything that waits for a disk.
class WorkerThread final : public Executor {
 public:
  WorkerThread();
  /// Runs what was posted, then ends the thread.
  ~WorkerThread() override;
  void post(std::function<void()> job) override;

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rakv
