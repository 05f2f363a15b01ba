// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "cnode/node/rpc.h"

// Inside the system module: what its remote functions share.

namespace rakv::system {

/// The name of an encoded atom; empty when it is none.
inline std::string atom_of(std::string_view term) {
  etf::Cursor cursor(term);
  return cursor.kind() == etf::TermKind::atom ? std::string(cursor.atom().value_or("")) : "";
}

/// A function that always gives the same encoded term.
inline void add_constant(node::RpcTable& functions, std::string_view module,
                         std::string_view function, std::size_t arity, std::string term) {
  functions.add(module, function, arity,
                [term = std::move(term)](node::RpcCall call) { call.answer(term); });
}

/// A function that gives what `write` writes, at once.
inline void add_written(node::RpcTable& functions, std::string_view module,
                        std::string_view function, std::size_t arity,
                        std::function<void(etf::Writer&, const node::RpcCall&)> write) {
  functions.add(module, function, arity, [write = std::move(write)](node::RpcCall call) {
    etf::Writer reply;
    write(reply, call);
    call.answer(reply.view());
  });
}

}  // namespace rakv::system
