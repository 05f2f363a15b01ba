#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/dist/endpoint.h"
#include "raft/core/types.h"

// The client side of the memory benchmarks: puts, gets and what an operator asks for, of one member
// that leads. For speed there is BareClient.

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

/// A node with many processes that call a member of ra_kv as OTP 29 and ra do: a call monitors the
/// member, asks with an alias, and demonitors; a get is a consistent_aux and then read_entry by
/// erpc; pipelined commands are casts that a ra_event answers. Any reply that is not the one
/// expected, such as a redirect, ends the program with a line that says what came. Single-threaded:
/// all happens in the functions.
class ValueClient {
 public:
  explicit ValueClient(std::string cookie);

  /// Connects to a node; ends the program when that fails.
  void connect(const std::string& node);

  void set_workload(Workload workload);

  /// `count` puts to the leader by `callers` processes at once.
  void run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// The same of gets; the keys must have been put.
  void run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// `count` puts by one process that has `window` of them unanswered.
  void run_pipelined(const raft::ServerId& leader, std::size_t window, std::size_t count);
  /// ra:ping/2 by one process until `done` says so, which is asked after each.
  void run_pings(const raft::ServerId& server, const std::function<bool()>& done);
  /// ra_kv's aux command take_snapshot.
  void take_snapshot(const raft::ServerId& server);
  /// ra:trigger_compaction/1.
  void trigger_compaction(const raft::ServerId& server);
  /// The microseconds of each operation of the last run_puts(), run_gets() or run_pings(), in the
  /// order of their ends.
  const std::vector<double>& times_us() const { return times_us_; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Kind { put, get, ping };
  /// What a process waits for.
  enum class Awaits { nothing, put, place, value, anything };
  struct Caller {
    Awaits awaits = Awaits::nothing;
    std::uint32_t call = 0;  ///< number of the call that is under way, in its reference
    std::size_t key = 0;
    Clock::time_point began;
  };

  void run(Kind kind, const raft::ServerId& leader, std::size_t callers, std::size_t count);
  void start_run(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  void end_run();
  void begin(std::size_t caller);
  void call(std::size_t caller, std::string_view request);
  void read_value(std::size_t caller, std::uint64_t index, std::string_view members);
  void pipeline_one();
  void finish(std::size_t caller);
  void on_message(const dist::ControlMessage& control, std::string_view payload);
  void on_reply(std::string_view message);
  void on_ra_event(std::string_view message);
  void on_value(const dist::MonitorExitSignal& signal);
  void call_once(const raft::ServerId& server, std::string_view request);
  /// The key's value; lives until the next call.
  std::string_view value_of(std::size_t key);
  void send(std::size_t caller, dist::OutMessage message);
  void turn_until(const std::function<bool()>& done);

  etf::Pid pid(std::size_t caller) const;
  etf::Reference reference(std::size_t caller) const;
  /// The caller whose call under way has this reference, if there is one.
  Caller* caller_of(const etf::ReferenceView& reference, std::size_t& number);

  boost::asio::io_context io_{1};
  std::string name_;
  std::uint32_t creation_ = 0;
  std::unique_ptr<dist::Endpoint> endpoint_;

  Kind kind_ = Kind::put;
  raft::ServerId leader_;
  std::shared_ptr<dist::Connection> connection_;
  std::vector<Caller> callers_;
  std::vector<double> times_us_;
  std::size_t begun_ = 0;
  std::size_t ended_ = 0;
  std::size_t wanted_ = 0;
  Workload workload_;
  std::string value_;
  std::string put_meta_;  ///< encoded size and hash of a value
  std::function<bool()> pinged_enough_;
};

}  // namespace rakv::bench
