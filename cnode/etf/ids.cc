// SPDX-License-Identifier: Apache-2.0
#include "cnode/etf/ids.h"

namespace rakv::etf {

namespace {

std::size_t combine(std::size_t seed, std::uint64_t value) {
  std::uint64_t mixed = (seed ^ value) * 0x9e3779b97f4a7c15u;
  mixed ^= mixed >> 32;
  return static_cast<std::size_t>(mixed);
}

std::size_t hash_name(std::string_view name) { return std::hash<std::string_view>{}(name); }

}  // namespace

std::size_t hash_value(const PidView& pid) {
  std::size_t h = combine(hash_name(pid.node), (std::uint64_t{pid.serial} << 32) | pid.id);
  return combine(h, pid.creation);
}

std::size_t hash_value(const ReferenceView& reference) {
  std::size_t h = combine(hash_name(reference.node), reference.creation);
  for (std::size_t i = 0; i < reference.words.count && i < kMaxReferenceWords; ++i) {
    h = combine(h, reference.words.word[i]);
  }
  return combine(h, reference.words.count);
}

std::size_t hash_value(const PortView& port) {
  return combine(combine(hash_name(port.node), port.id), port.creation);
}

}  // namespace rakv::etf
