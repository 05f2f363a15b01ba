// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cnode/node/gen.h"
#include "cnode/node/node_impl.h"

namespace rakv::node {

/// The process `rex`: remote calls the way nodes before OTP 23 make them, and C and Java nodes to
/// this day (OTP rpc.erl). Carries out what the allow-list has; everything else is {badrpc, Reason}
/// with the reason that a BEAM without that function has.
class Node::Impl::Rex : public Process {
 public:
  explicit Rex(Impl& node) : node_(node) {}
  void on_message(std::string_view message) override;
  std::uint64_t entity = 0;

 private:
  /// Who gets the answer and in which form.
  struct ReplyTo {
    enum class Form {
      nobody,
      gen,  ///< `address` is the {Pid, Tag} of a gen call
      rex,  ///< `address` is a pid, which gets {rex, Reply}: C nodes, which have no references
    };
    Form form = Form::nobody;
    std::string address;
    std::string caller_node;
  };

  void on_call(const GenMessage& call);
  void on_plain_message(std::string_view message);
  void forward(const etf::PidView& from, std::string_view name, std::string_view message,
               bool tell_success);
  bool run(etf::Cursor& call, ReplyTo to);
  void reply(const ReplyTo& to, PayloadWriter write);

  Impl& node_;
};

}  // namespace rakv::node
