// SPDX-License-Identifier: Apache-2.0
#include "kv/client.h"

#include "cnode/etf/canonical.h"
#include "cnode/etf/hash.h"
#include "cnode/node/gen.h"
#include "kv/machine.h"
#include "raft/wire/client_requests.h"
#include "tests/cnode/node/peers_harness.h"

// What the client asks servers that the test plays, and what it makes of their answers.

namespace rakv::kv {
namespace {

using namespace std::chrono_literals;

/// Notes the commands that it gets; ends, or answers with a term.
class Server : public node::Process {
 public:
  Server(node::Node& node, const std::string& name) : node_(node), pid_(node.spawn(*this)) {
    EXPECT_TRUE(node.register_name(name, pid_));
  }
  void on_message(std::string_view message) override {
    const auto gen = node::parse_gen_message(message);
    ASSERT_TRUE(gen && gen->kind == node::GenMessage::Kind::call);
    const wire::AddressedRequest asked = wire::unwrap_call(gen->request);
    EXPECT_TRUE(asked.for_leader);
    const wire::ClientRequest request = wire::decode_client_request(asked.term);
    if (const auto* command = std::get_if<wire::request::Command>(&request))
      commands.emplace_back(command->data);
    if (ends) return node_.terminate(pid_, *etf::parse_text("killed"));
    node_.reply(pid_, gen->from,
                [this](distribution::OutMessage& out) { out.text += *etf::parse_text(answer); });
  }

  std::vector<std::string> commands;
  bool ends = false;
  std::string answer = "{wrap_reply, {ok, #{index => 7, term => 3}}}";

 private:
  node::Node& node_;
  etf::Pid pid_;
};

class ClientTest : public node::testing::PeersTest {
 protected:
  Result<CommittedPosition> put(const std::string& key, const std::string& value) {
    Client client(io_, *node_, {{{"kv", "n@127.0.0.1"}, {"kv2", "n@127.0.0.1"}}, 10, 100ms, {}});
    std::optional<Result<CommittedPosition>> done;
    client.put(*etf::parse_text(key), *etf::parse_text(value), Clock::of(io_).now() + 10s,
               [&](Result<CommittedPosition> result) { done = std::move(result); });
    EXPECT_TRUE(node::testing::run_until(io_, [&] { return done.has_value(); }));
    return done ? *done : Result<CommittedPosition>(make_error(ErrorCode::io, "nothing came"));
  }
};

TEST_F(ClientTest, APutTellsHashAndSizeOfItsValue) {
  Server server(*node_, "kv");
  for (const char* value : {"value", "#{a => [1, 2, 3]}", "<<\"bytes\">>", "key"}) {
    const auto written = put("key", value);
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(written->index, 7U);
    EXPECT_EQ(written->term, 3U);
    const auto command = parse_command(server.commands.back());
    ASSERT_TRUE(command);
    EXPECT_EQ(etf::print_text(command->key), "key");
    EXPECT_EQ(command->value, *etf::parse_text(value));
    EXPECT_EQ(command->hash, etf::Writer().u64(*etf::phash2(command->value)).view()) << value;
    EXPECT_EQ(etf::canonicalize(server.commands.back()).value(),
              *etf::parse_text("{put, key, " + std::string(value) + ", #{size => " +
                               std::to_string(*etf::external_size(command->value)) + ", hash => " +
                               std::to_string(*etf::phash2(command->value)) + "}}"))
        << value;
  }
}

TEST_F(ClientTest, APutThatMayHaveBeenCarriedOutIsNotSentAgain) {
  Server server(*node_, "kv");
  Server other(*node_, "kv2");
  server.ends = true;
  const auto written = put("key", "value");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::timeout) << written.error().message;
  EXPECT_EQ(server.commands.size(), 1U);
  EXPECT_TRUE(other.commands.empty());
}

TEST_F(ClientTest, APutThatWasCertainlyNotCarriedOutGoesToTheNextServer) {
  Server other(*node_, "kv2");
  const auto written = put("key", "value");
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(written->leader, (raft::ServerId{"kv2", "n@127.0.0.1"}));
}

TEST_F(ClientTest, AnAnswerThatNoMemberGivesLeavesTheOutcomeUnknown) {
  Server server(*node_, "kv");
  server.answer = "what";
  const auto written = put("key", "value");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::timeout);
}

}  // namespace
}  // namespace rakv::kv
