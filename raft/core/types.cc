// SPDX-License-Identifier: Apache-2.0
#include "raft/core/types.h"

#include "raft/core/core.h"
#include "raft/core/messages.h"

namespace rakv::raft {

namespace {
const std::string kEmpty;
}

ServerId::ServerId(std::string name, std::string node)
    : parts_(std::make_shared<const Parts>(Parts{std::move(name), std::move(node)})) {}

const std::string& ServerId::name() const { return parts_ == nullptr ? kEmpty : parts_->name; }
const std::string& ServerId::node() const { return parts_ == nullptr ? kEmpty : parts_->node; }

bool operator==(const ServerId& left, const ServerId& right) {
  return left.parts_ == right.parts_ ||
         (left.name() == right.name() && left.node() == right.node());
}

std::strong_ordering operator<=>(const ServerId& left, const ServerId& right) {
  if (left.parts_ == right.parts_) return std::strong_ordering::equal;
  const int by_name = left.name().compare(right.name());
  const int order = by_name != 0 ? by_name : left.node().compare(right.node());
  return order <=> 0;
}

std::string to_string(const ServerId& id) {
  return id.is_none() ? "undefined" : "{" + id.name() + "," + id.node() + "}";
}

std::string_view to_string(Membership membership) {
  switch (membership) {
    case Membership::voter:
      return "voter";
    case Membership::promotable:
      return "promotable";
    case Membership::non_voter:
      return "non_voter";
    case Membership::unknown:
      return "unknown";
  }
  return "unknown";
}

std::string_view to_string(EntryKind kind) {
  switch (kind) {
    case EntryKind::user:
      return "user";
    case EntryKind::noop:
      return "noop";
    case EntryKind::cluster_change:
      return "cluster_change";
    case EntryKind::cluster_delete:
      return "cluster_delete";
    case EntryKind::unknown:
      return "unknown";
  }
  return "unknown";
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::follower:
      return "follower";
    case Role::pre_vote:
      return "pre_vote";
    case Role::candidate:
      return "candidate";
    case Role::leader:
      return "leader";
    case Role::await_condition:
      return "await_condition";
    case Role::receive_snapshot:
      return "receive_snapshot";
    case Role::terminating_leader:
      return "terminating_leader";
    case Role::terminating_follower:
      return "terminating_follower";
  }
  return "unknown";
}

std::string_view to_string(ChunkFlag flag) {
  switch (flag) {
    case ChunkFlag::init:
      return "init";
    case ChunkFlag::pre:
      return "pre";
    case ChunkFlag::next:
      return "next";
    case ChunkFlag::last:
      return "last";
  }
  return "unknown";
}

std::string_view to_string(PeerStatus status) {
  switch (status) {
    case PeerStatus::normal:
      return "normal";
    case PeerStatus::suspended:
      return "suspended";
    case PeerStatus::sending_snapshot:
      return "sending_snapshot";
    case PeerStatus::snapshot_backoff:
      return "snapshot_backoff";
    case PeerStatus::disconnected:
      return "disconnected";
  }
  return "unknown";
}

}  // namespace rakv::raft
