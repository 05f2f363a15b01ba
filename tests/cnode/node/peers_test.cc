// SPDX-License-Identifier: Apache-2.0
#include "tests/cnode/node/peers_harness.h"

// What peers may ask of a node, and what it answers them.

namespace rakv::node::testing {
namespace {

TEST_F(PeersTest, MonitorsLinksAndSpawnsAreOfThePeersOwnProcesses) {
  const etf::Pid foreign("q@127.0.0.1", 7, 0, 4711);
  const distribution::PidOrName name = std::string_view("net_kernel");
  const auto whole = [](distribution::OutMessage message) {
    etf::Writer(message.text).nil();
    return message;
  };
  const std::vector<distribution::OutMessage> signals = {
      distribution::encode_monitor(foreign, name, reference_),
      distribution::encode_demonitor(foreign, name, reference_),
      distribution::encode_link(foreign, *node_->whereis("net_kernel")),
      distribution::encode_unlink(1, foreign, *node_->whereis("net_kernel")),
      whole(distribution::encode_link_exit(foreign, *node_->whereis("net_kernel"))),
      whole(distribution::encode_spawn_request(reference_, foreign, foreign, "erlang", "node", 0,
                                               true))};
  for (const distribution::OutMessage& signal : signals) {
    connect(distribution::kOfferedFlags);
    closed_ = false;
    peer_->send(1, signal);
    EXPECT_TRUE(run_until(io_, [&] { return closed_; })) << notes_.size();
    ASSERT_FALSE(notes_.empty());
    EXPECT_NE(notes_.back().find("of a process of another node"), std::string::npos)
        << notes_.back();
    endpoint_.reset();
    peer_.reset();
    ASSERT_TRUE(run_until(io_, [&] { return !node_->is_connected("p@127.0.0.1"); }));
  }
  // Its own ones are answered.
  connect(distribution::kOfferedFlags);
  peer_->send(1, distribution::encode_monitor(self_, std::string_view("nobody"), reference_));
  EXPECT_EQ(next(), "DOWN noproc");
}

TEST_F(PeersTest, RexAnswersAPeerThatHasNothingButWhatIsDemanded) {
  connect(distribution::kDemandedFlags);
  const std::string self = "<0.7.0>";
  const auto call_message = [&](const std::string& call) {
    distribution::OutMessage message = distribution::encode_send_to_name(self_, "rex");
    etf::Writer(message.text).tuple(2).pid(self_);
    message.text += *etf::parse_text(call);
    peer_->send(1, std::move(message));
  };
  call_message("{call, erlang, node, [], user}");
  EXPECT_EQ(next(), "{rex,'n@127.0.0.1'}");
  call_message("{call, erlang, nodes, [hidden], user}");
  EXPECT_EQ(next(), "{rex,['p@127.0.0.1']}");
  call_message("{call, erlang, nodes, [[visible, this]], send_stdout_to_caller}");
  EXPECT_EQ(next(), "{rex,['n@127.0.0.1']}");
  call_message("{call, erlang, nodes, [nonsense], user}");
  EXPECT_EQ(next(), "{rex,{badrpc,{'EXIT',{badarg,[]}}}}");
  call_message("{call, no_such, function, [1, 2], user}");
  EXPECT_EQ(next(), "{rex,{badrpc,{'EXIT',{undef,[{no_such,function,[1,2],[]}]}}}}");
  call_message("{call, erlang, node, not_a_list, user}");
  EXPECT_EQ(next(), "{rex,{badrpc,{'EXIT',{badarg,[]}}}}");
  call_message("features_request");
  EXPECT_EQ(next(), "{features_reply,'n@127.0.0.1',[erpc]}");
  call_message("{sbcast, nobody, hello}");
  EXPECT_EQ(next(), "{rex,'n@127.0.0.1',{nonexisting_name,nobody}}");
  call_message("{sbcast, net_kernel, hello}");
  EXPECT_EQ(next(), "{rex,'n@127.0.0.1','n@127.0.0.1'}");
  // Nonsense is neither answered nor fatal.
  for (const char* nonsense : {"{call, erlang, node, [], user, more}", "{call, 1, node, [], user}",
                               "{call, erlang, 2, [], user}", "{sbcast, 1, x}", "{}", "x"}) {
    call_message(nonsense);
    send_to_name("rex", nonsense);
  }
  call_message("{call, erlang, node, [], user}");
  EXPECT_EQ(next(), "{rex,'n@127.0.0.1'}");
  EXPECT_FALSE(closed_);
}

TEST_F(PeersTest, AFunctionIsAppliedByRexWhereThereAreNoSpawnRequests) {
  // The peer is rakv's own rex: a second node without spawn requests cannot be made of options, so
  // this one answers by hand.
  connect(distribution::kDemandedFlags);
  std::vector<std::string> asked;
  std::optional<std::pair<ApplyResult::Status, std::string>> result;
  distribution::Connection::Handlers unused;
  node_->apply("p@127.0.0.1", "ra_kv", "read_entry", *etf::parse_text("[1]"),
               std::chrono::seconds(30), [&](const ApplyResult& ended) {
                 result = {ended.status, std::string(ended.term)};
               });
  const std::string request = next();
  EXPECT_EQ(request.rfind("{'$gen_call',{", 0), 0u) << request;
  EXPECT_NE(request.find("{call,ra_kv,read_entry,[1],"), std::string::npos) << request;
  endpoint_->disconnect("n@127.0.0.1", "over");
  ASSERT_TRUE(run_until(io_, [&] { return result.has_value(); }));
  EXPECT_EQ(result->first, ApplyResult::Status::failed);
}

TEST_F(PeersTest, NetKernelAnswersEveryCall) {
  connect(distribution::kDemandedFlags);
  const auto ask = [&](const std::string& request) {
    distribution::OutMessage message = distribution::encode_send_to_name(self_, "net_kernel");
    etf::Writer writer(message.text);
    writer.tuple(3).atom("$gen_call").tuple(2).pid(self_).atom("tag");
    message.text += *etf::parse_text(request);
    peer_->send(1, std::move(message));
    return next();
  };
  EXPECT_EQ(ask("{is_auth, 'p@127.0.0.1'}"), "{tag,yes}");
  EXPECT_EQ(ask("nodename"), "{tag,'n@127.0.0.1'}");
  EXPECT_EQ(ask("longnames"), "{tag,true}");
  EXPECT_EQ(ask("ticktime"), "{tag,60000}");
  EXPECT_EQ(ask("allowed"), "{tag,{ok,[]}}");
  EXPECT_EQ(ask("get_state"), "{tag,{error,not_supported}}");
}

TEST_F(PeersTest, TermsThatNestAsDeepAsThoseOfABeamDoNotCloseTheConnection) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "h\x01";
  deep += "j";
  connect(distribution::kOfferedFlags);
  const auto send = [&](distribution::OutMessage message, const std::string& payload) {
    message.text += payload;
    peer_->send(1, std::move(message));
  };
  const std::string arguments = etf::Writer().list(1).raw(deep).nil().take();
  send(
      distribution::encode_spawn_request(reference_, self_, self_, "no_such", "function", 1, false),
      arguments);
  EXPECT_EQ(next(), "SPAWNED pid");
  const std::string call =
      etf::Writer().list(4).reference(reference_).atom("m").atom("f").raw(arguments).nil().take();
  send(
      distribution::encode_spawn_request(reference_, self_, self_, "erpc", "execute_call", 4, true),
      call);
  EXPECT_EQ(next(), "SPAWNED pid");
  EXPECT_EQ(next().rfind("DOWN ", 0), 0u);
  send(distribution::encode_exit(self_, *node_->whereis("net_kernel")), deep);
  send(distribution::encode_send_to_name(self_, "net_kernel"),
       etf::Writer().tuple(3).atom("$gen_call").tuple(2).pid(self_).atom("tag").raw(deep).take());
  EXPECT_EQ(next(), "{tag,{error,not_supported}}");
  EXPECT_FALSE(closed_);
}

TEST_F(PeersTest, AProcessWithMoreArgumentsThanAFunctionHasEndsAsOnABeam) {
  connect(distribution::kOfferedFlags);
  etf::Writer arguments;
  arguments.list(300);
  for (int i = 0; i < 300; ++i) arguments.atom("x");
  arguments.nil();
  distribution::OutMessage message;
  etf::Writer writer(message.text);
  writer.tuple(6).integer(29).reference(reference_).pid(self_).pid(self_);
  writer.tuple(3).atom("m").atom("f").integer(300).list(1).atom("monitor").nil();
  message.end_control();
  message.text += arguments.view();
  peer_->send(1, std::move(message));
  EXPECT_EQ(next(), "SPAWNED pid");
  EXPECT_EQ(next().rfind("DOWN {undef,[{m,f,[x,x,", 0), 0u);
  EXPECT_FALSE(closed_);
}

TEST_F(PeersTest, EveryNameThatIsHereAnswersSystemMessagesAndCalls) {
  connect(distribution::kOfferedFlags);
  const auto ask = [&](const std::string& name, const std::string& kind) {
    distribution::OutMessage message = distribution::encode_send_to_name(self_, name);
    etf::Writer writer(message.text);
    writer.tuple(3).atom(kind).tuple(2).pid(self_).atom("tag").atom("get_state");
    peer_->send(1, std::move(message));
    return next();
  };
  for (const char* name : {"net_kernel", "rex", "aten_sink"})
    EXPECT_EQ(ask(name, "system"), "{tag,{error,{unsupported_system_message,get_state}}}") << name;
  EXPECT_EQ(ask("aten_sink", "$gen_call"), "{tag,{error,{unsupported_call,get_state}}}");
}

TEST_F(PeersTest, WhyANodeThatIsWantedCanNotBeConnectedIsSaidOnce) {
  // What answers the look-up is no epmd for it.
  node_->keep_connected("x@127.0.0.1");
  ASSERT_TRUE(run_until(io_, [&] { return !notes_.empty(); }));
  EXPECT_NE(notes_.front().find("connecting with x@127.0.0.1: "), std::string::npos)
      << notes_.front();
  const std::size_t dials = epmd_.requests();
  ASSERT_TRUE(run_until(io_, [&] { return epmd_.requests() >= dials + 2; }));
  EXPECT_EQ(notes_.size(), 1u);
}

TEST_F(PeersTest, MonitorsThatHaveNoRoomEndAtOnce) {
  connect(distribution::kOfferedFlags);
  const distribution::PidOrName name = std::string_view("net_kernel");
  const auto monitor = [&](std::uint32_t number) {
    const etf::Reference reference("p@127.0.0.1", 4711, etf::ReferenceWords{{number, 2, 3}, 3});
    peer_->send(1, distribution::encode_monitor(self_, name, reference));
  };
  std::uint32_t number = 0;
  const auto is_full = [&] {
    for (int i = 0; i < 100; ++i) monitor(++number);
    return std::find(got_.begin(), got_.end(), "DOWN system_limit") != got_.end();
  };
  ASSERT_TRUE(run_until(io_, is_full));
  EXPECT_EQ(next(), "DOWN system_limit");
  EXPECT_LE(memory_.watches.used(), memory_.watches.limit());
  EXPECT_FALSE(memory_.watches.has_room(1000 + memory_.watches.limit() / 3));
  // One goes, and there is room again.
  const etf::Reference first("p@127.0.0.1", 4711, etf::ReferenceWords{{1, 2, 3}, 3});
  ASSERT_TRUE(run_until(io_, [&] { return peer_->queued_bytes() == 0; }));
  peer_->send(1, distribution::encode_demonitor(self_, name, first));
  ASSERT_TRUE(
      run_until(io_, [&] { return memory_.watches.has_room(448 + memory_.watches.limit() / 3); }));
  expect_given_back();
}

TEST_F(PeersTest, LinksAndRemoteCallsThatHaveNoRoomAreRefused) {
  const ByteCharge taken(&memory_.watches, memory_.watches.limit() - 800);
  std::vector<RpcCall> waiting;
  node_->functions().add("test", "wait", 1,
                         [&](RpcCall call) { waiting.push_back(std::move(call)); });
  connect(distribution::kOfferedFlags);
  const auto spawn = [&](const std::string& arguments) {
    distribution::OutMessage message =
        distribution::encode_spawn_request(reference_, self_, self_, "test", "wait", 1, true);
    message.text += *etf::parse_text(arguments);
    peer_->send(1, std::move(message));
  };
  spawn("[a]");
  ASSERT_TRUE(run_until(io_, [&] { return waiting.size() == 1; }));
  spawn("[b]");
  EXPECT_EQ(next(), "SPAWNED pid");
  EXPECT_EQ(next(), "SPAWNED system_limit");
  peer_->send(1, distribution::encode_link(self_, *node_->whereis("net_kernel")));
  EXPECT_EQ(next(), "EXIT system_limit");
  // Its arguments count, too.
  waiting.front().answer(*etf::parse_text("ok"));
  waiting.clear();
  EXPECT_EQ(next(), "DOWN normal");
  spawn("[<<\"" + std::string(100, 'x') + "\">>]");
  EXPECT_EQ(next(), "SPAWNED pid");
  EXPECT_EQ(next(), "DOWN {system_limit,[]}");
  EXPECT_EQ(memory_.watches.used(), taken.bytes());
}

/// A remote call that waits, as its caller can end it.
class SpawnedTest : public PeersTest {
 protected:
  void SetUp() override {
    PeersTest::SetUp();
    node_->functions().add("test", "wait", 0,
                           [this](RpcCall call) { waiting_.push_back(std::move(call)); });
    connect(distribution::kOfferedFlags);
  }
  void spawn(std::initializer_list<std::string_view> options) {
    distribution::OutMessage message;
    etf::Writer writer(message.text);
    writer.tuple(6).integer(29).reference(reference_).pid(self_).pid(self_);
    writer.tuple(3).atom("test").atom("wait").integer(0).list(options.size());
    for (const std::string_view option : options) writer.atom(option);
    writer.nil();
    message.end_control();
    etf::Writer(message.text).nil();
    peer_->send(1, std::move(message));
    EXPECT_EQ(next(), "SPAWNED pid");
    ASSERT_TRUE(run_until(io_, [&] { return waiting_.size() == 1; }));
  }
  void send(distribution::OutMessage message, const std::string& reason) {
    message.text += *etf::parse_text(reason);
    peer_->send(1, std::move(message));
  }
  /// All that was sent has been seen, and nothing was answered.
  void expect_no_more() {
    const etf::Reference reference("p@127.0.0.1", 4711, etf::ReferenceWords{{8, 8, 8}, 3});
    peer_->send(1, distribution::encode_monitor(self_, std::string_view("nobody"), reference));
    EXPECT_EQ(next(), "DOWN noproc");
  }
  /// Whoever monitors it now.
  void expect_gone() {
    const etf::Reference reference("p@127.0.0.1", 4711, etf::ReferenceWords{{9, 9, 9}, 3});
    peer_->send(1, distribution::encode_monitor(self_, spawned_->view(), reference));
    EXPECT_EQ(next(), "DOWN noproc");
  }
  std::vector<RpcCall> waiting_;
};

TEST_F(SpawnedTest, ACallThatIsKilledIsGivenUp) {
  spawn({"monitor"});
  const etf::Reference another("p@127.0.0.1", 4711, etf::ReferenceWords{{4, 5, 6}, 3});
  peer_->send(1, distribution::encode_monitor(self_, spawned_->view(), another));
  peer_->send(1, distribution::encode_link(self_, *spawned_));
  const std::uint64_t before = memory_.watches.used();
  send(distribution::encode_exit(self_, *spawned_), "kill");
  EXPECT_EQ(next(), "DOWN killed");
  EXPECT_EQ(next(), "EXIT killed");
  EXPECT_EQ(next(), "DOWN killed");
  expect_gone();
  // What the call keeps here is counted until it ends, and nobody gets its answer.
  EXPECT_GT(memory_.watches.used(), 0u);
  EXPECT_LE(memory_.watches.used(), before);
  waiting_.front().answer(*etf::parse_text("late"));
  waiting_.clear();
  expect_gone();
  EXPECT_TRUE(got_.empty());
  EXPECT_EQ(memory_.watches.used(), 0u);
}

TEST_F(SpawnedTest, ExitReasonsAreThoseOfAProcessThatDoesNotTrapExits) {
  spawn({"monitor"});
  send(distribution::encode_exit(self_, *spawned_), "normal");
  send(distribution::encode_exit(self_, *spawned_), "{enough,1}");
  EXPECT_EQ(next(), "DOWN {enough,1}");
  waiting_.clear();
  // Of a linked process `kill` is a reason like any other.
  for (const char* reason : {"normal", "kill", "boring"}) {
    spawn({"link", "monitor"});
    send(distribution::encode_link_exit(self_, *spawned_), reason);
    if (std::string_view(reason) == "normal") {
      expect_no_more();
      waiting_.front().answer(*etf::parse_text("ok"));
    }
    EXPECT_EQ(next(), std::string("DOWN ") + reason);
    waiting_.clear();
  }
  expect_gone();
}

TEST_F(SpawnedTest, ALinkedCallEndsWithTheConnection) {
  spawn({"link"});
  const etf::Pid lost = *spawned_;
  endpoint_.reset();
  peer_.reset();
  ASSERT_TRUE(run_until(io_, [&] { return !node_->is_connected("p@127.0.0.1"); }));
  connect(distribution::kOfferedFlags);
  const etf::Reference reference("p@127.0.0.1", 4711, etf::ReferenceWords{{9, 9, 9}, 3});
  peer_->send(1, distribution::encode_monitor(self_, lost.view(), reference));
  EXPECT_EQ(next(), "DOWN noproc");
}

TEST_F(PeersTest, WhatAPeerDoesNotFinishIsGivenBackWhenItGoes) {
  connect(distribution::kOfferedFlags);
  node_->hold_link("p@127.0.0.1", std::chrono::hours(1));
  node_->release_link("p@127.0.0.1");
  // A long message without its end: the link is held in the middle of it.
  distribution::OutMessage message = distribution::encode_send_to_name(self_, "nobody");
  etf::Writer(message.text).binary(std::string(30 << 20, 'x'));
  peer_->send(1, std::move(message));
  ASSERT_TRUE(run_until(io_, [&] { return memory_.incoming.used() > (5 << 20); }));
  node_->hold_link("p@127.0.0.1", std::chrono::hours(1));
  EXPECT_GE(memory_.connections.used(), 1u);
  endpoint_.reset();
  node_->release_link("p@127.0.0.1");
  expect_given_back();
}

TEST_F(PeersTest, WhatAPeerDoesNotFetchIsGivenBackWhenItGoes) {
  connect(distribution::kOfferedFlags);
  node_->hold_link("p@127.0.0.1", std::chrono::hours(1));
  const auto large = [](distribution::OutMessage& out) {
    etf::Writer(out.text).binary(std::string(1 << 20, 'x'));
  };
  const etf::Pid from = *node_->whereis("net_kernel");
  // Messages that may not block stop at a quarter of the account, others when it is full.
  int queued = 0;
  while (node_->send(from, self_, large, false) == Delivery::queued) ++queued;
  EXPECT_EQ(queued, 2);
  while (node_->send(from, self_, large, true) == Delivery::queued) ++queued;
  EXPECT_EQ(queued, 7);
  ASSERT_TRUE(run_until(io_, [&] { return !notes_.empty(); }));
  EXPECT_NE(notes_.back().find("--memory-budget"), std::string::npos) << notes_.back();
  expect_given_back();
}

TEST_F(PeersTest, ThereAreNoMoreConnectionsThanHaveRoom) {
  const ByteCharge taken(&memory_.connections, memory_.connections.limit());
  distribution::EndpointOptions options;
  options.node_name = "p@127.0.0.1";
  options.creation = 4711;
  options.cookie = "cookie";
  options.fixed_peer_port = node_->port();
  endpoint_ =
      std::make_unique<distribution::Endpoint>(io_, options, distribution::Endpoint::Events{});
  std::optional<Result<void>> dialled;
  endpoint_->dial("n@127.0.0.1", [&](Result<void> result) { dialled = std::move(result); });
  ASSERT_TRUE(run_until(io_, [&] { return dialled.has_value(); }));
  EXPECT_FALSE(dialled->has_value());
  ASSERT_FALSE(notes_.empty());
  EXPECT_NE(notes_.back().find("there is no memory for another one"), std::string::npos)
      << notes_.back();
}

}  // namespace
}  // namespace rakv::node::testing
