// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "cnode/base/check.h"

namespace rakv {

/// An immutable, reference-counted run of bytes: one allocation, cheap to copy, safe to hand to
/// other threads. Log entries live in these: the bytes of a value are copied at most once, from the
/// frame they came in (a large one not even then), and from then on memory table, WAL writer and
/// outgoing messages only point at them.
class SharedBytes {
  struct Header {
    std::atomic<std::size_t> references;
    std::size_t offset;  ///< where the bytes begin, from the header's end
    std::size_t size;
  };

 public:
  SharedBytes() = default;

  /// A copy of `bytes`.
  static SharedBytes copy_of(std::string_view bytes) {
    SharedBytes made = uninitialized(bytes.size());
    if (!bytes.empty()) std::memcpy(made.mutable_data(), bytes.data(), bytes.size());
    return made;
  }

  /// `size` bytes of undefined content, to be filled through mutable_data() before the first copy
  /// is made.
  static SharedBytes uninitialized(std::size_t size) {
    void* memory = std::malloc(kHeadBytes + size);
    if (memory == nullptr) throw std::bad_alloc();
    return adopt(memory, size);
  }

  /// Room that adopt() needs at the front of a block.
  static constexpr std::size_t kHeadBytes = sizeof(Header);

  /// Takes over a block from malloc: kHeadBytes of undefined content, then the `size` bytes.
  static SharedBytes adopt(void* block, std::size_t size) {
    SharedBytes made;
    made.header_ = new (block) Header{1, 0, size};
    return made;
  }

  /// Makes the range [offset, offset + size) of the bytes all there is; the memory stays as it is.
  /// Only for the one owner, before the first copy is made.
  void narrow(std::size_t offset, std::size_t size) {
    RAKV_CHECK(header_ != nullptr && header_->references.load(std::memory_order_relaxed) == 1);
    RAKV_CHECK(offset <= header_->size && size <= header_->size - offset);
    header_->offset += offset;
    header_->size = size;
  }

  SharedBytes(const SharedBytes& other) : header_(other.header_) {
    if (header_ != nullptr) header_->references.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytes(SharedBytes&& other) noexcept : header_(std::exchange(other.header_, nullptr)) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(header_, other.header_);
    return *this;
  }
  ~SharedBytes() { release(); }

  std::string_view view() const {
    if (header_ == nullptr) return {};
    return {reinterpret_cast<const char*>(header_ + 1) + header_->offset, header_->size};
  }
  std::size_t size() const { return header_ == nullptr ? 0 : header_->size; }
  bool empty() const { return size() == 0; }

  /// The bytes, writable. Only for the one owner that has just made them.
  char* mutable_data() { return reinterpret_cast<char*>(header_ + 1) + header_->offset; }

 private:
  void release() {
    if (header_ != nullptr && header_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      header_->~Header();
      std::free(header_);
    }
  }

  Header* header_ = nullptr;
};

}  // namespace rakv
