// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/bench/member_client.h"

namespace rakv::bench {

/// What is put and got.
struct Workload {
  /// The key of an operation, by its number from 0.
  std::function<std::size_t(std::size_t operation)> key = [](std::size_t operation) {
    return operation % 2000;
  };
  std::size_t value_bytes = 256;
  /// Values say their key and this round, so that a get can tell whether it is the value that was
  /// put last; else all values are zeros. For values of at least 16 bytes.
  std::function<std::uint64_t(std::size_t key)> round;
};

/// The client of the memory benchmarks: puts and gets of any size whose values are looked at, and
/// what an operator asks for, of one member that leads. For speed there is BareClient.
class ValueClient : public MemberClient {
 public:
  explicit ValueClient(std::string cookie);

  void set_workload(Workload workload);

  /// `count` puts to the leader by `callers` processes at once.
  void run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// The same of gets; the keys must have been put.
  void run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// `count` puts by one process that has `window` of them unanswered.
  void run_pipelined(const raft::ServerId& leader, std::size_t window, std::size_t count);
  /// ra:ping/2 by one process until `done` says so, which is asked before each.
  void run_pings(const raft::ServerId& server, std::function<bool()> done);
  /// ra_kv's aux command take_snapshot.
  void take_snapshot(const raft::ServerId& server);
  /// ra:trigger_compaction/1.
  void trigger_compaction(const raft::ServerId& server);

 private:
  enum class Kind { put, get, ping };

  void ask(std::size_t caller, Awaits awaits, std::string_view request);

  void begin(std::size_t caller) override;
  void write_put(etf::Writer& writer, std::size_t operation) override;
  void read_value(std::size_t caller, std::uint32_t index, std::string_view members) override;
  std::string_view value_to_get(std::size_t caller) override;
  /// The key's value; lives until the next call.
  std::string_view value_of(std::size_t key);

  Kind kind_ = Kind::put;
  Workload workload_;
  std::vector<std::size_t> keys_;  ///< of each process's operation
  std::string value_;
  std::uint32_t zeros_hash_ = 0;  ///< phash2 of a value that is all zeros
  std::function<bool()> pinged_enough_;
};

}  // namespace rakv::bench
