// SPDX-License-Identifier: Apache-2.0
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

#include "cnode/base/clock.h"
#include "cnode/base/result.h"
#include "cnode/base/turn.h"
#include "cnode/distribution/control.h"
#include "cnode/distribution/frames.h"
#include "cnode/distribution/handshake.h"
#include "cnode/distribution/outbox.h"
#include "cnode/distribution/peer_memory.h"
#include "cnode/distribution/transport.h"

// One live connection to a peer, after the handshake.

namespace rakv::distribution {

/// How a connection behaves.
struct ConnectionOptions {
  std::chrono::milliseconds net_ticktime{
      60000};  ///< T: dead when no byte came for T; a tick after T/4 of silence
  AssemblerLimits receive;
  OutboxLimits send;
  std::size_t turn_messages =
      512;  ///< messages handled before other work of the io_context gets its turn
  /// The memory that all connections share; null: only the limits above hold.
  std::shared_ptr<PeerMemory> memory;
};

/// A connection that is up. Single-threaded: everything happens on the io_context's thread.
///
/// The owner gets it stopped, installs it in its tables, then calls start(): not a byte is handled
/// before. It reads always, unless PeerMemory makes it wait, and a slow on_message is a brake, too.
class Connection : public std::enable_shared_from_this<Connection>, private PeerMemory::Holder {
 public:
  struct Handlers {
    /// A control message and its payload term (empty if the op has none). The views live during the
    /// call only.
    std::function<void(const ControlMessage& control, std::string_view payload)> on_message;
    /// Once, when the connection is over, with the reason; nothing follows. Not called from inside
    /// a call of ours, close() included.
    std::function<void(const Error& reason)> on_closed;
    /// After a try_send() that would have blocked, or has_room() that was false: there is room
    /// again. Optional.
    std::function<void()> on_drained;
  };

  /// `on_gone` is called from inside close(), for the one who keeps a table of connections.
  Connection(boost::asio::io_context& io, std::unique_ptr<Transport> transport, PeerIdentity peer,
             std::string_view leftover, const ConnectionOptions& options,
             std::function<void()> on_gone = {});
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const PeerIdentity& peer() const { return peer_; }
  /// True when `flag` was offered by both sides.
  bool has(Flags flag) const { return (peer_.flags & flag) == flag; }

  /// Whether the peer is the node of another member: see PeerMemory.
  void set_member(bool member) { memory_.set_member(member); }

  /// Begins to read, with the bytes that came after the handshake first.
  void start(Handlers handlers);

  /// See Outbox. Messages are put in the peer's words; what it has no word for is dropped (see
  /// adapt()). After close() they return `overflow` and drop the message. A send that overflows
  /// closes the connection.
  Outbox::Admission try_send(SenderKey sender, OutMessage message);
  Outbox::Admission send(SenderKey sender, OutMessage message);
  Outbox::Admission send_beat(OutMessage message);
  /// Whether try_send() would queue now. If not, on_drained follows once it would.
  bool has_room();

  /// During on_message: the memory in which the message lies, if it came in fragments and `part` is
  /// a part of it; else nothing. It is the caller's alone to keep and to write to, and views into
  /// the message live as long as it does.
  SharedBytes take_message(std::string_view part) { return assembler_.take_assembled(part); }

  /// For tests: while held, nothing that comes in is handled and nothing more is written, as when
  /// the network goes silent; it waits, within the bounds there are. What the kernel was given goes
  /// on.
  void hold(bool held);

  /// Ends it; on_closed follows with this reason. What is queued is dropped.
  void close(Error reason);
  bool closed() const { return closed_; }

  std::size_t queued_bytes() const { return outbox_.queued_bytes(); }
  /// Memory held for what came in and is not handled, and for what waits to be written.
  std::size_t memory_bytes() const { return assembler_.memory_bytes() + outbox_.queued_bytes(); }
  std::uint64_t bytes_received() const { return assembler_.bytes_received(); }
  std::uint64_t bytes_written() const override { return outbox_.bytes_written(); }

 private:
  Framing framing() const { return has(kFlagFragments) ? Framing::headers : Framing::pass_through; }
  // PeerMemory::Holder
  void cut(Error reason) override { close(std::move(reason)); }
  void read_on() override;
  const std::string& peer_name() const override { return peer_.name; }
  std::uint64_t bytes_read() const override { return assembler_.bytes_received(); }

  void read();
  void read_if_there_is_room();
  void handle_input();
  void post_input();
  bool handle_event(const FrameAssembler::Event& event);
  void report_closed();
  void schedule_flush();
  void post_flush();
  void flush();
  void write_batch();
  void batch_written();
  void arm_tick_timer();
  void check_liveness();
  Outbox::Admission queue(SenderKey sender, OutMessage message);
  Outbox::Admission after_send(Outbox::Admission admission);

  boost::asio::io_context& io_;
  std::unique_ptr<Transport> transport_;
  PeerIdentity peer_;
  ConnectionOptions options_;
  std::function<void()> on_gone_;
  Handlers handlers_;
  FrameAssembler assembler_;
  Outbox outbox_;
  PeerMemory::Part memory_;
  std::vector<std::string_view> unwritten_;  ///< of the batch under way
  Turn& turn_;
  Timer tick_timer_;
  std::uint64_t received_at_check_ = 0;
  std::uint64_t written_at_check_ = 0;
  int silent_checks_ = 0;
  bool started_ = false;
  bool writing_ = false;
  bool flush_scheduled_ = false;
  bool refused_ = false;
  bool held_ = false;
  bool input_held_ = false;      ///< there is input to handle once it is not held any more
  bool waits_for_room_ = false;  ///< and does not read on until read_on()
  bool holds_back_ = false;      ///< handles nothing more until the peer has fetched its answers
  bool closed_ = false;
  Error close_reason_{};
};

}  // namespace rakv::distribution
