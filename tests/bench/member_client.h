// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/distribution/endpoint.h"
#include "cnode/etf/writer.h"
#include "raft/core/types.h"

// The client side of the benchmarks: what processes of a BEAM send to a member of ra_kv and get
// back, without the BEAM.

namespace rakv::bench {

/// A node with many processes that call a member of ra_kv. Signal for signal what OTP 29 and ra
/// send: every call monitors the member, asks with an alias, and demonitors (gen:call/4); a get is
/// a consistent_aux and then read_entry by erpc (a member here answers the spawn request, too,
/// which erpc does not ask for); pipelined commands are casts that a ra_event answers.
///
/// What is put and got, and how messages are made, is for those who derive from it: BareClient and
/// ValueClient. Any reply that is not the one expected ends the program with a line that says what
/// came. Single-threaded: all happens in the functions.
class MemberClient {
 public:
  virtual ~MemberClient() = default;

  /// Connects to a node; ends the program when that fails.
  void connect(const std::string& node);

  /// The microseconds of each operation of the last run but of pipelined ones, in the order of
  /// their ends.
  const std::vector<double>& times_us() const { return times_us_; }

 protected:
  using Clock = std::chrono::steady_clock;
  /// What a process waits for.
  enum class Awaits { nothing, put, place, value, anything };
  /// The call of a process that is under way, or was last.
  struct Call {
    Awaits awaits = Awaits::nothing;
    std::uint32_t number = 0;  ///< in its reference
    Clock::time_point began;
  };

  /// A node named `name`_PID@HOST. The program ends when nothing ends for `patience`.
  MemberClient(const std::string& name, std::string cookie, std::chrono::seconds patience);

  // --- runs ---
  /// Of `count` operations, by calls of so many processes; ends with end_run().
  void start_run(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// Lets each of them begin(), and then again after each end.
  void run_calls(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// `count` puts by one process that has `window` of them unanswered
  /// (ra:pipeline_command(Leader, {put, ...}, Correlation, normal)).
  void run_pipelined_puts(const raft::ServerId& leader, std::size_t window, std::size_t count);
  /// Waits until all that were wanted have ended, or end_early() was called. What is still to come
  /// after that is of a call that is not under way any more.
  void end_run();
  void end_early() { ended_early_ = true; }
  void turn_until(const std::function<bool()>& done);

  // --- what a kind of client does ---
  /// The process makes the next call: counts it in begun_, and sets its Call.
  virtual void begin(std::size_t caller) = 0;
  /// Writes {put, Key, Value, Meta} of an operation.
  virtual void write_put(etf::Writer& writer, std::size_t operation) = 0;
  /// The value is at this index, says the leader; `members` as they are in its answer, encoded.
  virtual void read_value(std::size_t caller, std::uint32_t index, std::string_view members) = 0;
  /// What the process's get is to give; lives until the next call.
  virtual std::string_view value_to_get(std::size_t caller) = 0;
  virtual void demonitor(std::size_t caller);
  /// Another answer to a call than a leader's.
  virtual void on_other_reply(std::string_view reply);
  /// A ra_event {rejected, {not_leader, ...}}, the cursor after that atom.
  virtual void on_rejected(etf::Cursor& cursor);

  // --- messages ---
  distribution::OutMessage encode_monitor(std::size_t caller, std::uint32_t call) const;
  distribution::OutMessage encode_demonitor(std::size_t caller, std::uint32_t call) const;
  distribution::OutMessage encode_call(std::size_t caller, std::uint32_t call,
                                       std::string_view request) const;
  /// erpc:call(Node, ra_kv, read_entry, [Leader, Index, Members, Timeout]).
  distribution::OutMessage encode_read_value(std::size_t caller, std::uint32_t call,
                                             std::uint32_t index, std::string_view members) const;
  void send(std::size_t caller, distribution::OutMessage message);
  void send_cast(std::size_t caller, const std::function<void(etf::Writer&)>& write_request);

  void finish(std::size_t caller);

  raft::ServerId leader_;
  std::vector<Call> calls_;  ///< of each process
  std::size_t begun_ = 0;
  std::size_t ended_ = 0;
  std::size_t wanted_ = 0;

 private:
  void pipeline_one();
  void on_message(const distribution::ControlMessage& control, std::string_view payload);
  void on_reply(std::string_view message);
  void on_ra_event(std::string_view message);
  void on_value(const distribution::MonitorExitSignal& signal);
  void watch_progress();
  etf::Pid pid(std::size_t caller) const;
  etf::Reference reference(std::size_t caller, std::uint32_t call) const;
  /// The call under way that has this reference, if there is one, and whose it is.
  Call* call_of(const etf::ReferenceView& reference, std::size_t& caller);

  boost::asio::io_context io_{1};
  boost::asio::steady_timer progress_timer_{io_};
  const std::chrono::seconds patience_;
  std::string name_;
  std::uint32_t creation_ = 0;
  std::unique_ptr<distribution::Endpoint> endpoint_;
  std::shared_ptr<distribution::Connection> connection_;
  std::vector<double> times_us_;
  bool ended_early_ = false;
  std::uint64_t first_correlation_ = 0;  ///< of this pipelined run
  std::uint64_t next_correlation_ = 0;
};

}  // namespace rakv::bench
