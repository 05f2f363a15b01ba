// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cnode/node/node_impl.h"
#include "cnode/node/rex.h"

// The names that every connected BEAM node talks to on its own accord
// (docs/protocol/distribution.md 6).

namespace rakv::node {

/// net_kernel, rex, global's greeting, the sinks of beats, log events and io requests.
class Node::Impl::Builtins {
 public:
  explicit Builtins(Impl& node);

  /// Takes messages for names that no process holds. True when it was one of ours.
  bool on_message_for(std::string_view name, std::string_view sender_node,
                      std::string_view message);

  /// The pid that spawned processes of peers get as group leader: answers io requests.
  etf::Pid io_leader() const;

 private:
  class NetKernel : public Process {
   public:
    explicit NetKernel(Impl& node) : node_(node) {}
    void on_message(std::string_view message) override;
    std::uint64_t entity = 0;

   private:
    Impl& node_;
  };
  class AtenSink : public Process {
   public:
    explicit AtenSink(Impl& node) : node_(node) {}
    void on_message(std::string_view message) override;
    std::uint64_t entity = 0;

   private:
    Impl& node_;
  };
  class IoLeader : public Process {
   public:
    explicit IoLeader(Impl& node) : node_(node) {}
    void on_message(std::string_view message) override;
    std::uint64_t entity = 0;

   private:
    Impl& node_;
  };

  void greet_global(std::string_view sender_node, std::string_view message);

  Impl& node_;
  NetKernel net_kernel_;
  Rex rex_;
  AtenSink aten_sink_;
  IoLeader io_leader_;
};

}  // namespace rakv::node
