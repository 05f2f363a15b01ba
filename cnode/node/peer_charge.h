// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "cnode/base/byte_account.h"

namespace rakv::node {

/// A charge for what one other node has here (monitors, remote calls). A third of the account is
/// only for nodes that have little, so that these find room where others have much.
class PeerCharge {
 public:
  /// A node that has no more than this has little.
  static constexpr std::uint64_t kLittleBytes = 16 * 1024;

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

}  // namespace rakv::node
