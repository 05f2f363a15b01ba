// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/shared_bytes.h"

// The vocabulary of the Raft core: positions, identities, configurations, entries.

namespace rakv::raft {

/// A 64-bit number with a meaning of its own. Numbers of different meaning do not mix: `index + 1`
/// compiles, `index + term` does not.
template <class Tag>
class Number {
 public:
  constexpr Number() = default;
  constexpr explicit Number(std::uint64_t value) : value_(value) {}

  constexpr std::uint64_t value() const { return value_; }

  friend constexpr auto operator<=>(const Number&, const Number&) = default;
  friend constexpr Number operator+(Number number, std::uint64_t count) {
    return Number(number.value_ + count);
  }
  /// Stops at zero.
  friend constexpr Number operator-(Number number, std::uint64_t count) {
    return Number(number.value_ < count ? 0 : number.value_ - count);
  }
  /// The distance from `right` up to `left`; zero when `left` is lower.
  friend constexpr std::uint64_t operator-(Number left, Number right) {
    return left.value_ < right.value_ ? 0 : left.value_ - right.value_;
  }
  constexpr Number& operator++() {
    ++value_;
    return *this;
  }

 private:
  std::uint64_t value_ = 0;
};

/// A log position. Index 0 is the dummy entry (term 0) before the first real one.
using Index = Number<struct IndexTag>;
/// An election term; 0 before the first election.
using Term = Number<struct TermTag>;
/// The number of a leadership confirmation round for consistent reads.
using QueryIndex = Number<struct QueryIndexTag>;
/// Names one exchange that awaits an outcome: a client's call, a peer's call. Minted by the shell,
/// opaque to the core; 0 means "nobody waits".
using CallToken = Number<struct CallTokenTag>;
/// Names one round of votes or one snapshot transfer of this core.
using RoundId = Number<struct RoundIdTag>;
/// The version of a replicated state machine; 0 for one that has never changed.
using MachineVersion = std::uint64_t;

/// An entry's place: its index and its term.
struct IndexTerm {
  Index index;
  Term term;
  friend bool operator==(const IndexTerm&, const IndexTerm&) = default;
};

/// A server's address, the tuple {Name, Node} of ra. A small handle: copies share the two strings.
/// Ordered by name, then node, as Erlang orders such tuples.
class ServerId {
 public:
  /// Nobody: empty name and node.
  ServerId() = default;
  ServerId(std::string name, std::string node);

  const std::string& name() const;
  const std::string& node() const;
  bool is_none() const { return parts_ == nullptr; }

  friend bool operator==(const ServerId& left, const ServerId& right);
  friend std::strong_ordering operator<=>(const ServerId& left, const ServerId& right);

 private:
  struct Parts {
    std::string name;
    std::string node;
  };
  std::shared_ptr<const Parts> parts_;
};

/// `name@node`-like text for people: `{kv,n1@host}`.
std::string to_string(const ServerId& id);

enum class Membership : std::uint8_t { voter, promotable, non_voter, unknown };
/// The name as ra spells the atom.
std::string_view to_string(Membership membership);

/// ra's voter_status map; every key may be absent, and absence is kept.
struct VoterStatus {
  std::optional<Membership> membership;
  std::optional<std::string> uid;
  std::optional<Index> target;
  friend bool operator==(const VoterStatus&, const VoterStatus&) = default;
};

/// What a cluster map says of one member that is meaningful to receivers. A member without
/// voter_status (initial members) differs from one with an empty voter_status (joined by bare id):
/// ra decides `already_member` by it.
struct PeerConfig {
  std::optional<VoterStatus> voter_status;
  std::optional<MachineVersion> machine_version;

  /// True unless membership is present and not `voter`.
  bool is_voter() const {
    return !voter_status ||
           voter_status->membership.value_or(Membership::voter) == Membership::voter;
  }
  friend bool operator==(const PeerConfig&, const PeerConfig&) = default;
};

/// A configuration: the members, sorted.
using Cluster = std::map<ServerId, PeerConfig>;
using ClusterPtr = std::shared_ptr<const Cluster>;

enum class EntryKind : std::uint8_t {
  user,            ///< '$usr': a command for the machine
  noop,            ///< first entry of a leader's term
  cluster_change,  ///< '$ra_cluster_change'
  cluster_delete,  ///< '$ra_cluster' delete
  unknown,         ///< anything else: skipped by the machine, but it counts as applied
};
std::string_view to_string(EntryKind kind);

/// Why an entry without payload was made by the core; tells the shell how to encode Meta and Mode.
enum class EntryOrigin : std::uint8_t {
  given,   ///< the payload came with the command or the message
  client,  ///< a client's join or leave: Meta and Mode belong to the call `token`
  leader,  ///< the leader's own doing (noop, promotion): Meta #{ts}, Mode noreply
  forced,  ///< forced shrink: Meta `undefined`, Mode `no_reply`
};

/// One log entry on its way through the core. The payload is opaque: the core moves it and never
/// looks inside.
struct Entry {
  Index index;
  Term term;
  EntryKind kind = EntryKind::user;
  EntryOrigin origin = EntryOrigin::given;
  /// The client's call that caused the entry, or 0.
  CallToken token;
  /// noop only: the machine version it announces.
  MachineVersion machine_version = 0;
  /// cluster_change only: the new configuration.
  ClusterPtr cluster;
  /// The encoded command; empty iff `origin` is not `given`, then the shell encodes it.
  SharedBytes payload;
};

/// What a snapshot says about itself.
struct SnapshotMeta {
  Index index;
  Term term;
  Cluster cluster;
  MachineVersion machine_version = 0;
};

/// A member's state, named as ra names it.
enum class Role : std::uint8_t {
  follower,
  pre_vote,
  candidate,
  leader,
  await_condition,
  receive_snapshot,
  terminating_leader,
  terminating_follower,
};
std::string_view to_string(Role role);

}  // namespace rakv::raft
