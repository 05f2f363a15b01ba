// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cnode/base/clock.h"
#include "cnode/base/memory_accounts.h"
#include "cnode/base/result.h"

namespace rakv::distribution {

/// What all connections of a node hold together, within MemoryAccounts::incoming and ::outgoing.
///
/// Incoming: a message that comes in pieces and does not fit is not read on until others have come
/// whole. So that there is always one that can, one connection at a time may overshoot the share,
/// by one message. Small messages, above all votes and heartbeats, come in one piece and never
/// wait.
///
/// Outgoing: a peer that does not fetch its answers is not read from any more, so it can't ask for
/// more. When the account is full all the same, the peer that has most waiting is cut off. A large
/// value is not even read from the disk before there is room (when_room()).
///
/// Whoever waits, does so until a connection whose bytes have not moved for kPatience is cut off.
///
/// Connections with other members are read from always, and go last when one has to be cut off: a
/// client's flood is no reason to miss a heartbeat.
class PeerMemory : public std::enable_shared_from_this<PeerMemory> {
 public:
  /// A connection, as seen from here. Nothing of it is called from inside a call of it, save cut().
  class Holder {
   public:
    virtual ~Holder() = default;
    /// Close it, for this reason. It gives back what it holds before it returns.
    virtual void cut(Error reason) = 0;
    /// hold() said that it has to wait: ask again.
    virtual void read_on() = 0;
    virtual const std::string& peer_name() const = 0;
    virtual std::uint64_t bytes_read() const = 0;
    virtual std::uint64_t bytes_written() const = 0;
  };

  class Part;

 private:
  /// A Part, as the memory sees it.
  struct Holding {
    Holder& holder;
    ByteCharge itself{};
    ByteCharge incoming{};
    ByteCharge outgoing{};
    bool member = false;
    bool waits = false;
    // of look()
    std::uint64_t read_before = 0;
    std::uint64_t written_before = 0;
    int reads_nothing = 0;   ///< looks in a row
    int writes_nothing = 0;  ///< looks in a row
  };

 public:
  /// What one connection holds.
  class Part {
   public:
    /// Without `memory` nothing is counted, and nothing is refused.
    Part(std::shared_ptr<PeerMemory> memory, Holder& holder);
    ~Part() { release(); }
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    /// Whether the peer is the node of another member.
    void set_member(bool member) { holding_.member = member; }
    /// What it holds of messages that are not whole yet, and how much of that is one message. False
    /// when it must not read on: read_on() follows, or it was cut.
    bool hold(std::uint64_t bytes, std::uint64_t largest);
    /// Whether a read may have much room.
    bool roomy() const {
      return !memory_ ||
             memory_->accounts_.incoming.has_room(memory_->accounts_.incoming.limit() / 2);
    }
    /// Whether `bytes` more may be queued for the peer. If not, it holds most of all.
    bool admit(std::uint64_t bytes);
    /// What is queued for the peer now.
    void set_queued(std::uint64_t bytes);
    /// Whether the peer has so much to fetch that its requests must wait.
    bool holds_back() const;
    /// The connection is over: everything is given back.
    void release();

   private:
    std::shared_ptr<PeerMemory> memory_;
    Holding holding_;
  };

  /// A message's first piece and what one read may add to it: no more waits for room.
  static constexpr std::uint64_t kSmallBytes = std::uint64_t{68} * 1024;
  /// What is counted for a connection as such: its buffer for reading, timers, tables.
  static constexpr std::uint64_t kConnectionBytes = std::uint64_t{20} * 1024;
  /// A connection that moves fewer bytes between two looks stands still.
  static constexpr std::uint64_t kProgressBytes = std::uint64_t{64} * 1024;
  static constexpr std::chrono::milliseconds kLookInterval{1000};
  static constexpr int kPatience = 5;  ///< looks

  /// The accounts outlive it.
  PeerMemory(boost::asio::io_context& io, MemoryAccounts& accounts)
      : io_(io), accounts_(accounts), timer_(io) {}

  /// Whether there is room for one more connection.
  bool has_room_for_connection() const { return accounts_.connections.has_room(kConnectionBytes); }
  /// The largest message that a peer may send, in pieces or not.
  std::uint64_t largest_message() const { return accounts_.budget; }
  /// Bytes queued for a peer from which on messages that may not block are refused.
  std::uint64_t soft_bytes() const { return accounts_.outgoing.limit() / 4; }

  /// A charge of `bytes` for an answer to `peer` that is about to be made, or nothing when the
  /// connection with it is lost meanwhile. At once if there is room, else in turn, later. An answer
  /// larger than the share waits until it is the only one. One for a peer that has others to fetch
  /// (Part::holds_back()) waits for that, and is in nobody's way.
  using Room = std::function<void(std::optional<ByteCharge>)>;
  void when_room(const std::string& peer, std::uint64_t bytes, Room then);
  /// The connection with `peer` is lost: nobody waits for the answers to it any more.
  void forget_peer(const std::string& peer);
  /// Tests: how many wait in when_room().
  std::size_t waiting_answers() const { return answers_.size(); }

  /// Every kLookInterval while anybody waits: cuts off whoever stands still and is in the way.
  void look();

 private:
  struct Answer {
    std::string peer;
    std::uint64_t bytes;
    Room then;
  };
  bool fits(const Holding& one, std::uint64_t bytes) const;
  bool take_turn(Holding& one, std::uint64_t bytes);
  /// How early it is cut off: by what is queued for it, and other members' nodes late.
  static std::uint64_t weight(const Holding& one);
  bool answer_fits(std::uint64_t bytes) const;
  std::deque<Answer>::iterator next_answer();
  bool holds_back(const Holding& one) const;
  bool holds_back(const std::string& peer) const;
  Holding* largest_outgoing() const;
  Holding* standing_still(ByteCharge Holding::*held, int Holding::*looks) const;
  void room_was_made();
  void pump();
  void arm();

  boost::asio::io_context& io_;
  MemoryAccounts& accounts_;
  Timer timer_;
  std::set<Holding*> holdings_;
  Holding* oversized_ = nullptr;  ///< may overshoot the share of incoming bytes
  std::deque<Holding*> readers_;  ///< those that wait to read on
  std::deque<Answer> answers_;
  bool pump_posted_ = false;
  bool armed_ = false;
};

}  // namespace rakv::distribution
