// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <string>

#include "cnode/node/node_impl.h"

// Remote functions about the node itself: erlang:node/0, erlang:nodes/0,1, and rakv:memory/0.

namespace rakv::node {
namespace {

/// Which nodes erlang:nodes/1 is asked for.
struct Wanted {
  bool visible = false, hidden = false, own = false;
};

/// Adds what the atom under `cursor` stands for; false when it is none of nodes/1's.
bool add_wanted(etf::Cursor& cursor, Wanted& wanted) {
  if (cursor.kind() != etf::TermKind::atom) return false;
  const std::string_view kind = cursor.atom().value_or(std::string_view{});
  const bool connected = kind == "connected" || kind == "known";
  if (!connected && kind != "visible" && kind != "hidden" && kind != "this") return false;
  wanted.visible |= connected || kind == "visible";
  wanted.hidden |= connected || kind == "hidden";
  wanted.own |= kind == "this" || kind == "known";
  return true;
}

/// Reads an atom or a list of atoms.
std::optional<Wanted> read_wanted(std::string_view argument) {
  Wanted wanted;
  etf::Cursor cursor(argument);
  if (cursor.kind() == etf::TermKind::atom) {
    return add_wanted(cursor, wanted) ? std::optional(wanted) : std::nullopt;
  }
  const std::optional<std::uint32_t> count =
      cursor.kind() == etf::TermKind::string ? std::nullopt : cursor.list();
  if (!count) return std::nullopt;
  for (std::uint32_t i = 0; i < *count; ++i) {
    if (!add_wanted(cursor, wanted)) return std::nullopt;
  }
  return cursor.list_end(*count) ? std::optional(wanted) : std::nullopt;
}

}  // namespace

/// [{Kind, Used, Limit, Most}], in bytes, the sum first; the empty list without accounts.
void Node::Impl::write_memory(etf::Writer& writer) const {
  if (options_.memory == nullptr) {
    writer.nil();
    return;
  }
  std::vector<const ByteAccount*> accounts = options_.memory->kinds();
  accounts.insert(accounts.begin(), &options_.memory->sum);
  writer.list(accounts.size());
  for (const ByteAccount* account : accounts) {
    writer.tuple(4).atom(account->name()).u64(account->used()).u64(account->limit());
    writer.u64(account->peak());
  }
  writer.nil();
}

void Node::Impl::add_node_functions() {
  const auto nodes = [this](const Wanted& wanted) {
    std::set<std::string> names;
    for (const std::string& peer : endpoint_->connected_peers()) {
      const auto up = connection(peer);
      if (up && (up->has(distribution::kFlagPublished) ? wanted.visible : wanted.hidden))
        names.insert(peer);
    }
    if (wanted.own) names.insert(options_.name);
    etf::Writer list;
    list.list(names.size());
    for (const std::string& name : names) list.atom(name);
    list.nil();
    return list.take();
  };
  functions_.add("erlang", "node", 0,
                 [this](RpcCall call) { call.answer(etf::Writer().atom(options_.name).view()); });
  functions_.add("erlang", "nodes", 0, [nodes](RpcCall call) {
    call.answer(nodes(Wanted{true, false, false}));
  });
  functions_.add("erlang", "nodes", 1, [nodes](RpcCall call) {
    const std::optional<Wanted> wanted = read_wanted(call.argument(0));
    if (!wanted) return call.raise_badarg();
    call.answer(nodes(*wanted));
  });
  functions_.add("rakv", "memory", 0, [this](RpcCall call) {
    etf::Writer memory;
    write_memory(memory);
    call.answer(memory.view());
  });
}

}  // namespace rakv::node
