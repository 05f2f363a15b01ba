// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/bench/member_client.h"
#include "tests/bench/repeated_message.h"

namespace rakv::bench {

/// A client for speed, as light as it can be: values of 256 zeros, 2000 keys in turns, and messages
/// that are encoded once.
///
/// The run_*() functions give false when the member stopped leading meanwhile: what they measured
/// is worth nothing then.
class BareClient : public MemberClient {
 public:
  explicit BareClient(std::string cookie);

  /// Makes a member the leader of its cluster, by transfers; ends the program when that fails.
  void lead(const raft::ServerId& member);

  /// `count` puts to the leader by `callers` processes at once.
  bool run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// The same of gets; the keys must have been put.
  bool run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// `count` puts by one process that has `window` of them unanswered.
  bool run_pipelined(const raft::ServerId& leader, std::size_t window, std::size_t count);

 private:
  /// What a process sends again and again.
  struct Messages {
    std::string members;  ///< as they are in `read_value`, encoded
    RepeatedMessage monitor, demonitor, put, get, read_value;
  };

  void prepare_calls(const raft::ServerId& leader, std::size_t callers);
  bool run(Awaits first, const raft::ServerId& leader, std::size_t callers, std::size_t count);
  void ask_to_lead(const raft::ServerId& member);
  void prepare(std::size_t caller);

  void begin(std::size_t caller) override;
  void write_put(etf::Writer& writer, std::size_t operation) override;
  void read_value(std::size_t caller, std::uint32_t index, std::string_view members) override;
  std::string_view value_to_get(std::size_t caller) override;
  void demonitor(std::size_t caller) override;
  void on_other_reply(std::string_view reply) override;
  void on_rejected(etf::Cursor& cursor) override;

  Awaits first_ = Awaits::put;  ///< what a process waits for that has begun
  std::vector<Messages> messages_;
  std::optional<raft::ServerId> other_leader_;  ///< whom a redirect named during this run
  std::string put_meta_;                        ///< encoded size and hash of the value
};

}  // namespace rakv::bench
