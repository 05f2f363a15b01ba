// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "cnode/base/check.h"

namespace rakv {

/// How many bytes something takes, and how many it may take. What grows with what others send asks
/// has_room() before it takes something in, and holds a ByteCharge as long as it keeps it. The
/// account refuses nothing by itself: whoever asks knows what a refusal means for the one who
/// waits.
///
/// For one thread. An account outlives its charges.
class ByteAccount {
 public:
  /// What is charged to it is charged to `sum` as well, whose limit has no say in has_room().
  ByteAccount(std::string name, std::uint64_t limit, ByteAccount* sum = nullptr)
      : name_(std::move(name)), limit_(limit), sum_(sum) {}
  ByteAccount(const ByteAccount&) = delete;
  ByteAccount& operator=(const ByteAccount&) = delete;

  bool has_room(std::uint64_t bytes) const { return bytes <= limit_ && used_ <= limit_ - bytes; }
  /// has_room(), or it is a single large thing and at least half of the account is free: one at a
  /// time may be larger than the account.
  bool takes(std::uint64_t bytes) const {
    return has_room(bytes) || (bytes > limit_ / 2 && used_ <= limit_ / 2);
  }
  const std::string& name() const { return name_; }
  std::uint64_t used() const { return used_; }
  std::uint64_t limit() const { return limit_; }
  /// The most that was ever used.
  std::uint64_t peak() const { return peak_; }
  /// The most that was used since this was called last.
  std::uint64_t take_recent_peak() { return std::exchange(recent_peak_, used_); }

  /// Bytes that are charged to an account until this goes. One without an account charges nothing.
  class Charge {
   public:
    Charge() = default;
    explicit Charge(ByteAccount* account, std::uint64_t bytes = 0) : account_(account) {
      resize(bytes);
    }
    Charge(Charge&& other) noexcept
        : account_(other.account_), bytes_(std::exchange(other.bytes_, 0)) {}
    Charge& operator=(Charge&& other) noexcept {
      if (this != &other) {
        resize(0);
        account_ = other.account_;
        bytes_ = std::exchange(other.bytes_, 0);
      }
      return *this;
    }
    ~Charge() { resize(0); }

    /// From now on it is so many bytes, whether there is room for them or not.
    void resize(std::uint64_t bytes) {
      if (account_ == nullptr || bytes == bytes_) return;
      if (bytes > bytes_) {
        account_->add(bytes - bytes_);
      } else {
        account_->subtract(bytes_ - bytes);
      }
      bytes_ = bytes;
    }
    void grow(std::uint64_t bytes) { resize(bytes_ + bytes); }
    void shrink(std::uint64_t bytes) { resize(bytes_ - std::min(bytes, bytes_)); }
    std::uint64_t bytes() const { return bytes_; }
    /// Whether the account has room for so many more bytes; always without an account.
    bool has_room(std::uint64_t bytes) const {
      return account_ == nullptr || account_->has_room(bytes);
    }
    /// As ByteAccount::takes(); always without an account.
    bool takes(std::uint64_t bytes) const { return account_ == nullptr || account_->takes(bytes); }
    /// Grows if the account takes so many more bytes; false, and nothing happens, if it does not.
    bool try_grow(std::uint64_t bytes) {
      if (!takes(bytes)) return false;
      grow(bytes);
      return true;
    }

   private:
    ByteAccount* account_ = nullptr;
    std::uint64_t bytes_ = 0;
  };

 private:
  void add(std::uint64_t bytes) {
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    recent_peak_ = std::max(recent_peak_, used_);
    if (sum_ != nullptr) sum_->add(bytes);
  }
  void subtract(std::uint64_t bytes) {
    RAKV_CHECK_MSG(bytes <= used_, name_);
    used_ -= bytes;
    if (sum_ != nullptr) sum_->subtract(bytes);
  }

  std::string name_;
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
  std::uint64_t peak_ = 0;
  std::uint64_t recent_peak_ = 0;
  ByteAccount* sum_;
};

using ByteCharge = ByteAccount::Charge;

}  // namespace rakv
