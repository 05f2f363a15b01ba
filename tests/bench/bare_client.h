#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
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
#include "tests/bench/repeated_message.h"

// The client side of a benchmark, as light as it can be: what processes of a BEAM send to a member
// of ra_kv and get back, without the BEAM.

namespace rakv::bench {

/// A node with many processes that call members of ra_kv. Signal for signal what OTP 29 and ra
/// send: every call monitors the member, asks with an alias, and demonitors (gen:call/4); a get is
/// a consistent_aux and then read_entry by erpc (a member here answers the spawn request, too,
/// which erpc does not ask for); pipelined commands are casts that a ra_event answers.
///
/// The run_*() functions give false when the member stopped leading meanwhile: what they measured
/// is worth nothing then. Any other reply that is not the one expected ends the program with a line
/// that says what came. Single-threaded: all happens in the functions.
class BareClient {
 public:
  explicit BareClient(std::string cookie);

  /// Connects to a node; ends the program when that fails.
  void connect(const std::string& node);

  /// Makes a member the leader of its cluster, by transfers; ends the program when that fails.
  void lead(const raft::ServerId& member);

  /// `count` puts to the leader by `callers` processes at once.
  bool run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// The same of gets; the keys must have been put.
  bool run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  /// `count` puts by one process that has `window` of them unanswered.
  bool run_pipelined(const raft::ServerId& leader, std::size_t window, std::size_t count);
  /// The microseconds of each operation of the last run_puts() or run_gets(), in the order of their
  /// ends.
  const std::vector<double>& times_us() const { return times_us_; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Kind { put, get };
  /// What a process waits for.
  enum class Awaits { nothing, put, place, value, transfer };
  struct Caller {
    Awaits awaits = Awaits::nothing;
    std::uint32_t call = 0;  ///< number of the call that is under way, in its reference
    Clock::time_point began;
    std::string members;  ///< as they are in `read_value`, encoded
    RepeatedMessage monitor, demonitor, put, get, read_value;
  };

  bool run(Kind kind, const raft::ServerId& leader, std::size_t callers, std::size_t count);
  void start_run(const raft::ServerId& leader, std::size_t callers, std::size_t count);
  bool end_run();
  void ask_to_lead(const raft::ServerId& member);
  void begin(std::size_t caller);
  void prepare(std::size_t caller);
  dist::OutMessage encode_call(std::size_t caller, const Numbers& numbers,
                               std::string_view request) const;
  dist::OutMessage encode_read_value(std::size_t caller, const Numbers& numbers,
                                     std::string_view members) const;
  void call(std::size_t caller, dist::OutMessage message);
  void read_value(std::size_t caller, std::uint32_t index, std::string_view members);
  void pipeline_one();
  void finish(std::size_t caller);
  void on_message(const dist::ControlMessage& control, std::string_view payload);
  void on_reply(std::string_view message);
  void on_ra_event(std::string_view message);
  void on_value(const dist::MonitorExitSignal& signal);
  void send(std::size_t caller, dist::OutMessage message);
  void turn_until(const std::function<bool()>& done);
  void watch_progress();
  void on_other_reply(std::string_view reply);

  etf::Pid pid(std::size_t caller) const;
  etf::Reference reference(std::size_t caller, std::uint32_t call) const;
  /// The caller whose call under way has this reference, if there is one.
  Caller* caller_of(const etf::ReferenceView& reference, std::size_t& number);

  boost::asio::io_context io_{1};
  boost::asio::steady_timer progress_timer_{io_};
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
  std::optional<raft::ServerId> other_leader_;  ///< whom a redirect named during this run
  std::uint64_t first_correlation_ = 0;         ///< of this pipelined run
  std::uint64_t next_correlation_ = 0;
  std::string put_meta_;  ///< encoded size and hash of the value
};

}  // namespace rakv::bench
