#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace rakv {

/// An immutable, reference-counted run of bytes: one allocation, cheap to copy, safe to hand to
/// other threads. Log entries live in these: the bytes of a value are copied once, from the frame
/// they came in, and from then on memory table, WAL writer and outgoing messages only point at
/// them.
class SharedBytes {
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
    void* memory = std::malloc(sizeof(Header) + size);
    if (memory == nullptr) throw std::bad_alloc();
    SharedBytes made;
    made.header_ = new (memory) Header{1, size};
    return made;
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
    return header_ == nullptr
               ? std::string_view{}
               : std::string_view{reinterpret_cast<const char*>(header_ + 1), header_->size};
  }
  std::size_t size() const { return header_ == nullptr ? 0 : header_->size; }
  bool empty() const { return size() == 0; }

  /// The bytes, writable. Only for the one owner that has just made them.
  char* mutable_data() { return reinterpret_cast<char*>(header_ + 1); }

 private:
  struct Header {
    std::atomic<std::size_t> references;
    std::size_t size;
  };

  void release() {
    if (header_ != nullptr && header_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      header_->~Header();
      std::free(header_);
    }
  }

  Header* header_ = nullptr;
};

}  // namespace rakv
