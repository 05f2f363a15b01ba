// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rakv::raftlog {

/// The bytes of a file in memory, in blocks that copies share until one of them is written:
/// copying a disk, or what a sync makes durable, costs a pointer for each block.
class FileBytes {
 public:
  std::size_t size() const { return size_; }
  /// New bytes are zeros.
  void resize(std::size_t size);
  /// Makes the file longer where it has to be.
  void write(std::size_t offset, std::string_view bytes);
  /// `offset + size` must be within the file.
  void read(std::size_t offset, char* into, std::size_t size) const;
  /// All of them.
  std::string text() const;

 private:
  static constexpr std::size_t kBlockSize = 4096;
  using Block = std::array<char, kBlockSize>;

  char* block_to_write(std::size_t number);

  // No block: zeros. What a block has beyond the end of the file is zero, too.
  std::vector<std::shared_ptr<Block>> blocks_;
  std::size_t size_ = 0;
};

}  // namespace rakv::raftlog
