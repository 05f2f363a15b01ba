// SPDX-License-Identifier: Apache-2.0
#include "tests/support/file_bytes.h"

#include <algorithm>
#include <cstring>

namespace rakv::raftlog {

void FileBytes::resize(std::size_t size) {
  if (size < size_ && size % kBlockSize != 0) {
    const std::size_t last = size / kBlockSize;
    if (blocks_[last]) {
      std::memset(block_to_write(last) + size % kBlockSize, 0, kBlockSize - size % kBlockSize);
    }
  }
  blocks_.resize((size + kBlockSize - 1) / kBlockSize);
  size_ = size;
}

void FileBytes::write(std::size_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  if (size_ < offset + bytes.size()) resize(offset + bytes.size());
  while (!bytes.empty()) {
    const std::size_t in_block = offset % kBlockSize;
    const std::string_view part = bytes.substr(0, kBlockSize - in_block);
    const std::size_t number = offset / kBlockSize;
    static constexpr Block kZeros{};
    const bool zeros_already =
        !blocks_[number] && std::memcmp(part.data(), kZeros.data(), part.size()) == 0;
    if (!zeros_already) std::memcpy(block_to_write(number) + in_block, part.data(), part.size());
    bytes.remove_prefix(part.size());
    offset += part.size();
  }
}

void FileBytes::read(std::size_t offset, char* into, std::size_t size) const {
  while (size != 0) {
    const std::size_t in_block = offset % kBlockSize;
    const std::size_t part = std::min(size, kBlockSize - in_block);
    const auto& block = blocks_[offset / kBlockSize];
    if (block) {
      std::memcpy(into, block->data() + in_block, part);
    } else {
      std::memset(into, 0, part);
    }
    into += part;
    offset += part;
    size -= part;
  }
}

std::string FileBytes::text() const {
  std::string all(size_, '\0');
  for (std::size_t number = 0; number < blocks_.size(); ++number) {
    const std::size_t begin = number * kBlockSize;
    if (blocks_[number]) read(begin, all.data() + begin, std::min(kBlockSize, size_ - begin));
  }
  return all;
}

/// The block as this copy's own.
char* FileBytes::block_to_write(std::size_t number) {
  std::shared_ptr<Block>& block = blocks_[number];
  if (!block) {
    block = std::make_shared<Block>();
  } else if (block.use_count() > 1) {
    block = std::make_shared<Block>(*block);
  }
  return block->data();
}

}  // namespace rakv::raftlog
