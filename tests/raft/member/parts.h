// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"
#include "raft/core/core.h"
#include "raft/member/client_calls.h"
#include "raft/member/state_machine.h"
#include "raft/wire/client_requests.h"
#include "tests/support/term_text.h"

// What the tests of a member's parts share: a part gets the functions that it needs of a member,
// and here those only note what they were told.

namespace rakv::member::testing {

inline std::string text(std::string_view encoded) { return etf::print_text(encoded); }

inline etf::Pid pid_on(const std::string& node, std::uint32_t id = 1) { return {node, id, 0, 1}; }

/// An encoded `{Pid, Tag}` of a caller on this node.
inline std::string caller(std::uint64_t tag, const std::string& node = "client@host") {
  return etf::Writer().tuple(2).pid(pid_on(node)).u64(tag).take();
}

/// Answers as "Tag: Answer", oldest first.
struct Answers {
  std::vector<std::string> given;
  ClientCalls::Reply reply() {
    return [this](std::string_view from, std::string_view answer) {
      etf::Cursor cursor(from);
      cursor.tuple(2);
      cursor.skip();
      given.push_back(text(cursor.rest()) + ": " + text(answer));
    };
  }
};

/// Notes commands as "Index:Data"; replies with the index.
class NotingMachine final : public StateMachine {
 public:
  std::vector<std::string> applied;
  /// So many pieces has a capture.
  int pieces = 1;
  bool refuses = false;
  std::vector<std::uint64_t> live;

  std::string_view module() const override { return "noting"; }
  std::unique_ptr<StateMachine> fresh() const override { return std::make_unique<NotingMachine>(); }
  Result<void> check_command(std::string_view) const override {
    if (refuses) return make_error(ErrorCode::unsupported, "no such command");
    return {};
  }
  void apply(const CommandMeta& meta, std::string_view data, etf::Writer* reply) override {
    applied.push_back(std::to_string(meta.index) + ":" + text(data));
    if (reply != nullptr) reply->u64(meta.index);
  }
  /// `quiet` gets no reply, `snapshot` takes one.
  AuxResult handle_aux(std::string_view command, const AuxContext& context,
                       etf::Writer& reply) override {
    if (etf::Cursor(command).is_atom("quiet")) return {};
    reply.tuple(2).atom("did").raw(command);
    static_cast<void>(context);
    return {.replies = true, .takes_snapshot = etf::Cursor(command).is_atom("snapshot")};
  }
  std::unique_ptr<StateCapture> capture() override {
    return std::make_unique<Pieces>(pieces, live);
  }
  void write_state(etf::Writer& writer) const override { writer.atom("state"); }
  Result<void> read_state(std::string_view) override { return {}; }
  std::vector<std::uint64_t> live_indexes() const override { return live; }
  void write_overview(etf::Writer& writer) const override { writer.atom("overview"); }
  Result<std::string> command_at(std::uint64_t, std::string_view) const override {
    return make_error(ErrorCode::not_found, "no values");
  }

 private:
  class Pieces final : public StateCapture {
   public:
    Pieces(int left, std::vector<std::uint64_t> live) : left_(left), live_(std::move(live)) {}
    bool copy_more() override { return --left_ > 0; }
    SharedBytes take_state() override {
      return SharedBytes::copy_of(etf::Writer().version().atom("state").view());
    }
    std::vector<std::uint64_t> take_live_indexes() override { return std::move(live_); }

   private:
    int left_;
    std::vector<std::uint64_t> live_;
  };
};

inline const raft::ServerId kSelf("kv", "a@host");
inline const raft::ServerId kOther("kv", "b@host");

/// The core of kSelf in a cluster of these, at rest.
inline raft::CoreState state_of(const std::vector<raft::ServerId>& members) {
  raft::CoreState state;
  state.id = kSelf;
  state.uid = "KVAAAA";
  for (const raft::ServerId& member : members) state.cluster[member];
  return state;
}

/// A core that leads a cluster of its own, in term 1.
inline raft::Core leading_core() {
  raft::Core core(state_of({kSelf}));
  raft::Effects effects;
  core.step(raft::event::TriggerElectionRequested{}, effects);
  EXPECT_EQ(core.role(), raft::Role::leader);
  return core;
}

/// A core that follows kOther in term 1.
inline raft::Core following_core() {
  raft::Core core(state_of({kSelf, kOther}));
  raft::Effects effects;
  raft::AppendEntriesRpc rpc;
  rpc.term = raft::Term{1};
  rpc.leader = kOther;
  core.step(raft::event::AppendEntries{rpc}, effects);
  EXPECT_EQ(core.leader(), kOther);
  return core;
}

inline wire::request::Command command_of(const std::string& encoded) {
  const wire::ClientRequest request = wire::decode_client_request(encoded);
  return std::get<wire::request::Command>(request);
}

}  // namespace rakv::member::testing
