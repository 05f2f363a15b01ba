// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/base/byte_account.h"
#include "raft/core/types.h"

namespace rakv::member {

/// Calls whose answer depends on the core. A slab: slots and their strings' memory are reused, so
/// that a put costs no allocation here. A token names a slot and a generation; a stale one finds
/// nothing. What they take is charged; whether there is room for one more is asked before.
class PendingCalls {
 public:
  struct Call {
    std::string from;                   ///< encoded `{Pid, Tag}`; empty for casts
    std::string request;                ///< the request without its leader_call wrapper
    bool answer_when_appended = false;  ///< a command with the mode after_log_append
    std::uint64_t payload_bytes = 0;    ///< of the command, which waits elsewhere
    bool is_query = false;              ///< counted apart
  };
  /// What a call takes besides its bytes.
  static constexpr std::uint64_t kCallBytes = 256;

  PendingCalls() = default;
  /// The charges are to the accounts that they count for, and empty.
  PendingCalls(ByteCharge calls, ByteCharge queries)
      : charge_(std::move(calls)), query_charge_(std::move(queries)) {}

  raft::CallToken add(std::string_view from, std::string_view request,
                      bool answer_when_appended = false, std::uint64_t payload_bytes = 0) {
    std::uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back().generation = first_generation_;
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    Slot& used = slots_[slot];
    ++used.generation;
    used.in_use = true;
    used.call.from.assign(from);
    used.call.request.assign(request);
    used.call.answer_when_appended = answer_when_appended;
    used.call.payload_bytes = payload_bytes;
    used.call.is_query = false;
    charge_.grow(bytes_of(used.call));
    ++size_;
    return token_of(used.generation, slot);
  }

  raft::CallToken add_query(std::string_view from, std::string_view request) {
    const raft::CallToken token = add(from, request);
    Call& call = slots_[static_cast<std::uint32_t>(token.value())].call;
    charge_.shrink(bytes_of(call));
    query_charge_.grow(bytes_of(call));
    call.is_query = true;
    return token;
  }

  /// Null when the call was answered or dropped before. Valid until the next add().
  const Call* find(raft::CallToken token) const {
    const std::uint32_t slot = static_cast<std::uint32_t>(token.value());
    if (slot >= slots_.size()) return nullptr;
    const Slot& used = slots_[slot];
    return used.in_use && used.generation == token.value() >> 32 ? &used.call : nullptr;
  }

  void remove(raft::CallToken token) {
    if (find(token) == nullptr) return;
    const std::uint32_t slot = static_cast<std::uint32_t>(token.value());
    Slot& used = slots_[slot];
    used.in_use = false;
    (used.call.is_query ? query_charge_ : charge_).shrink(bytes_of(used.call));
    // A giant request must not stay allocated for ever. Assigning an empty string would keep the
    // memory.
    if (used.call.request.capacity() > kKeptBytesMax) std::string().swap(used.call.request);
    free_.push_back(slot);
    if (--size_ == 0 && slots_.size() > kKeptSlotsMax) forget_slots();
  }

  std::size_t size() const { return size_; }
  /// What calls, and queries, are charged.
  std::uint64_t call_bytes() const { return charge_.bytes(); }
  std::uint64_t query_bytes() const { return query_charge_.bytes(); }
  std::size_t slots() const { return slots_.size(); }

  /// The tokens of calls whose `from` is one that is meant, ascending.
  std::vector<raft::CallToken> tokens_of(
      const std::function<bool(std::string_view from)>& is_meant) const {
    std::vector<raft::CallToken> tokens;
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      const Slot& used = slots_[slot];
      if (used.in_use && !used.call.from.empty() && is_meant(used.call.from))
        tokens.push_back(token_of(used.generation, static_cast<std::uint32_t>(slot)));
    }
    std::sort(tokens.begin(), tokens.end());
    return tokens;
  }

 private:
  static constexpr std::size_t kKeptBytesMax = 4096;
  /// So many are kept when none of them is used any more.
  static constexpr std::size_t kKeptSlotsMax = 8192;
  static std::uint64_t bytes_of(const Call& call) {
    return kCallBytes + call.from.size() + call.request.size() + call.payload_bytes;
  }
  static raft::CallToken token_of(std::uint32_t generation, std::uint32_t slot) {
    return raft::CallToken{(std::uint64_t{generation} << 32) | slot};
  }
  /// After a flood. No token that was ever given becomes valid again.
  void forget_slots() {
    for (const auto& slot : slots_)
      first_generation_ = std::max(first_generation_, slot.generation);
    std::vector<Slot>().swap(slots_);
    std::vector<std::uint32_t>().swap(free_);
  }
  struct Slot {
    std::uint32_t generation = 0;
    bool in_use = false;
    Call call;
  };
  ByteCharge charge_;
  ByteCharge query_charge_;
  std::uint32_t first_generation_ = 0;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

}  // namespace rakv::member
