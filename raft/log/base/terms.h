// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "raft/log/base/types.h"

namespace rakv::raftlog {

/// Reads `{Name, Node}`.
inline std::optional<ServerId> read_server_id(etf::Cursor& cursor) {
  if (!cursor.tuple(2)) return std::nullopt;
  const auto name = cursor.atom();
  if (!name) return std::nullopt;
  std::string copy(*name);
  const auto node = cursor.atom();
  if (!node) return std::nullopt;
  return ServerId(std::move(copy), std::string(*node));
}

inline void write_server_id(etf::Writer& writer, const ServerId& id) {
  writer.tuple(2).atom(id.name()).atom(id.node());
}

}  // namespace rakv::raftlog
