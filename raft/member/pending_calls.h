#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "raft/core/types.h"

namespace rakv::member {

/// Calls whose answer depends on the core. A slab: slots and their strings' memory are reused, so
/// that a put costs no allocation here. A token names a slot and a generation; a stale one finds
/// nothing.
class PendingCalls {
 public:
  struct Call {
    std::string from;                   ///< encoded `{Pid, Tag}`; empty for casts
    std::string request;                ///< the request without its leader_call wrapper
    bool answer_when_appended = false;  ///< a command with the mode after_log_append
  };

  raft::CallToken add(std::string_view from, std::string_view request,
                      bool answer_when_appended = false) {
    std::uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
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
    ++size_;
    return raft::CallToken{(std::uint64_t{used.generation} << 32) | slot};
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
    // A giant request must not stay allocated for ever. Assigning an empty string would keep the
    // memory.
    if (used.call.request.capacity() > kKeptBytesMax) std::string().swap(used.call.request);
    free_.push_back(slot);
    --size_;
  }

  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kKeptBytesMax = 4096;
  struct Slot {
    std::uint32_t generation = 0;
    bool in_use = false;
    Call call;
  };
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

}  // namespace rakv::member
