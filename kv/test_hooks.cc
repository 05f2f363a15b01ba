#include "kv/test_hooks.h"

#include <memory>

#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"

namespace rakv::kv {

void add_test_hooks(node::Node& node) {
  node::RpcTable& functions = node.functions();
  functions.add("erlang", "throw", 1,
                [](node::RpcCall call) { call.throw_term(std::string(call.argument(0))); });
  functions.add("erlang", "exit", 1,
                [](node::RpcCall call) { call.exit(std::string(call.argument(0))); });
  functions.add("erlang", "error", 1,
                [](node::RpcCall call) { call.raise(std::string(call.argument(0))); });
  functions.add("net_kernel", "connect_node", 1, [&node](node::RpcCall call) {
    etf::Cursor cursor(call.argument(0));
    if (cursor.kind() != etf::TermKind::atom) return call.raise_badarg();
    const std::string peer(cursor.atom().value_or(""));
    auto waiting = std::make_shared<node::RpcCall>(std::move(call));
    node.connect(peer, [waiting](const Result<void>& connected) {
      waiting->answer(etf::Writer().boolean(connected.has_value()).view());
    });
  });
}

}  // namespace rakv::kv
