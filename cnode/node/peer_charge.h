// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cnode/base/byte_account.h"

namespace rakv::node {

/// A charge for what one other node has here (monitors, remote calls). A third of the account is
/// only for nodes that have little, so that these find room where others have much.
class PeerCharge {
 public:
  /// A node that has no more than this has little.
  static constexpr std::uint64_t kLittleBytes = std::uint64_t{16} * 1024;

  PeerCharge() = default;
  /// `of_peer` counts what the node has in all.
  PeerCharge(ByteAccount* account, std::shared_ptr<std::uint64_t> of_peer)
      : account_(account), charge_(account), of_peer_(std::move(of_peer)) {}
  PeerCharge(PeerCharge&& other) noexcept { *this = std::move(other); }
  PeerCharge& operator=(PeerCharge&& other) noexcept {
    std::swap(account_, other.account_);
    std::swap(charge_, other.charge_);
    std::swap(of_peer_, other.of_peer_);
    return *this;
  }
  ~PeerCharge() {
    if (of_peer_) *of_peer_ -= charge_.bytes();
  }

  /// False, and nothing happens, if there is no room.
  bool try_grow(std::uint64_t bytes) {
    if (account_ == nullptr) return true;
    const std::uint64_t kept_free =
        *of_peer_ + bytes > kLittleBytes ? account_->limit() / 3 : std::uint64_t{0};
    const bool is_large = bytes > account_->limit() / 2;
    if (is_large ? !account_->takes(bytes) : !account_->has_room(bytes + kept_free)) return false;
    charge_.grow(bytes);
    *of_peer_ += bytes;
    return true;
  }

 private:
  ByteAccount* account_ = nullptr;
  ByteCharge charge_;
  std::shared_ptr<std::uint64_t> of_peer_;
};

/// Makes the charges of all other nodes. A node is known here as long as one of its charges lives,
/// and no longer: nodes come under ever new names.
class PeerCharges {
 public:
  /// An empty charge to `account` for what `node` has here.
  PeerCharge of(ByteAccount* account, std::string_view node) {
    const auto found = nodes_->find(node);
    std::shared_ptr<std::uint64_t> bytes = found == nodes_->end() ? nullptr : found->second.lock();
    if (!bytes) {
      const auto made = nodes_->emplace(std::string(node), std::weak_ptr<std::uint64_t>()).first;
      bytes = std::shared_ptr<std::uint64_t>(new std::uint64_t(0),
                                             [nodes = nodes_, made](const std::uint64_t* count) {
                                               delete count;
                                               nodes->erase(made);
                                             });
      made->second = bytes;
    }
    return {account, std::move(bytes)};
  }
  /// How many nodes are known.
  std::size_t nodes() const { return nodes_->size(); }

 private:
  using Nodes = std::map<std::string, std::weak_ptr<std::uint64_t>, std::less<>>;
  std::shared_ptr<Nodes> nodes_ = std::make_shared<Nodes>();
};

}  // namespace rakv::node
