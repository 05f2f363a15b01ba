// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "cnode/distribution/endpoint.h"
#include "cnode/etf/writer.h"
#include "tests/cnode/distribution/support.h"

// Against a real BEAM: RAKV_ERL (default erl) is started with its own epmd on a free port.

namespace rakv::distribution {
namespace {

using test::Child;
using test::run_until;
namespace asio = boost::asio;

constexpr char kCookie[] = "live_test_cookie";

std::string erl_program() {
  const char* given = std::getenv("RAKV_ERL");
  return given != nullptr ? given : "erl";
}

/// The smallest node that a BEAM is content with: it answers pings and monitors, and notes what
/// arrives.
class TinyNode {
 public:
  TinyNode(boost::asio::io_context& io, const std::string& alive, std::uint16_t epmd_port,
           ConnectionOptions connection = {}, const std::string& cookie = kCookie)
      : io_(io),
        name_(alive + "@" + test::short_host_name()),
        registrar_(io, epmd_options(epmd_port)) {
    EndpointOptions options;
    options.node_name = name_;
    options.cookie = cookie;
    options.epmd = epmd_options(epmd_port);
    options.connection = std::move(connection);
    Endpoint::Events events;
    events.on_up = [this](const std::shared_ptr<Connection>& up) { connected(up); };
    events.on_note = [this](const std::string& line) { notes.push_back(line); };
    endpoint = std::make_unique<Endpoint>(io, options, events);
    const Result<std::uint16_t> port = endpoint->listen();
    EXPECT_TRUE(port.has_value());
    bool registered = false;
    registrar_.start({alive, *port, true}, [&](Result<std::uint32_t> creation) {
      ASSERT_TRUE(creation.has_value()) << creation.error().message;
      creation_ = *creation;
      registered = true;
    });
    registrar_.on_event([this](const std::string& line) { notes.push_back(line); });
    EXPECT_TRUE(run_until(io, [&] { return registered; }));
    endpoint->set_creation(creation_);
    endpoint->accept_peers();
  }

  const std::string& name() const { return name_; }
  std::uint32_t creation() const { return creation_; }
  bool registered() const { return registrar_.registered(); }
  etf::Pid self() const { return etf::Pid(name_, 1, 0, creation_); }
  std::shared_ptr<Connection> to(const std::string& peer) { return endpoint->connection(peer); }

  Result<void> dial(const std::string& peer) {
    std::optional<Result<void>> outcome;
    endpoint->dial(peer, [&](Result<void> result) { outcome = std::move(result); });
    if (!run_until(io_, [&] { return outcome.has_value(); })) {
      return make_error(ErrorCode::timeout, "the dial never ended");
    }
    return *outcome;
  }

  std::unique_ptr<Endpoint> endpoint;
  std::vector<std::string> notes;
  std::vector<std::string> ups, downs;               ///< peers, in order
  std::map<std::string, std::size_t> message_bytes;  ///< by registered name, bytes of payloads
  std::string last_echo;                             ///< payload of the last message to `echo`
  int pings = 0;

 private:
  static epmd::Options epmd_options(std::uint16_t port) {
    epmd::Options options;
    options.port = port;
    options.start_daemon = false;
    options.reregister_interval = std::chrono::milliseconds(100);
    return options;
  }

  void connected(const std::shared_ptr<Connection>& up) {
    ups.push_back(up->peer().name);
    Connection::Handlers handlers;
    handlers.on_message = [this, raw = up.get()](const ControlMessage& control,
                                                 std::string_view payload) {
      take(*raw, control, payload);
    };
    handlers.on_closed = [this, peer = up->peer().name](const Error& reason) {
      downs.push_back(peer);
      notes.push_back("down: " + reason.message);
    };
    up->start(std::move(handlers));
  }

  void take(Connection& connection, const ControlMessage& control, std::string_view payload) {
    if (const auto* monitor = std::get_if<MonitorSignal>(&control)) {
      const auto* watched = std::get_if<std::string_view>(&monitor->watched);
      if (watched != nullptr && *watched == "net_kernel") return;
      OutMessage gone = encode_monitor_exit(monitor->watched, monitor->watcher, monitor->reference);
      etf::Writer(gone.text).atom("noproc");
      connection.send(0, std::move(gone));
      return;
    }
    const auto* message = std::get_if<MessageSignal>(&control);
    if (message == nullptr) return;
    const auto* to = std::get_if<std::string_view>(&message->to);
    if (to == nullptr) return;
    message_bytes[std::string(*to)] += payload.size();
    if (*to == "echo") {
      last_echo = std::string(payload);
      OutMessage back = encode_send(self(), *message->from);
      back.share(SharedBytes::copy_of(payload));
      connection.send(1, std::move(back));
    }
    if (*to != "net_kernel") return;
    // {'$gen_call', {Pid, Tag}, {is_auth, Node}} -> {Tag, yes} to Pid
    etf::Cursor cursor(payload);
    if (!cursor.tuple(3) || !cursor.is_atom("$gen_call") || !cursor.tuple(2)) return;
    const std::optional<etf::PidView> caller = cursor.pid_view();
    const std::optional<std::string_view> tag = cursor.skip();
    if (!caller || !tag) return;
    OutMessage reply = encode_send(self(), *caller);
    etf::Writer(reply.text).tuple(2).raw(*tag).atom("yes");
    connection.send(0, std::move(reply));
    ++pings;
  }

  boost::asio::io_context& io_;
  std::string name_;
  epmd::Registrar registrar_;
  std::uint32_t creation_ = 0;
};

class LiveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    epmd_port_ = test::free_port();
    start_epmd();
  }

  void start_epmd() {
    epmd_ = std::make_unique<Child>(
        std::vector<std::string>{"epmd", "-port", std::to_string(epmd_port_)},
        std::vector<std::string>{});
    ASSERT_TRUE(run_until(io_, [&] {
      boost::asio::io_context own;
      boost::asio::ip::tcp::socket socket(own);
      boost::system::error_code error;
      socket.connect({boost::asio::ip::address_v4::loopback(), epmd_port_}, error);
      return !error;
    }));
  }

  /// Starts a BEAM that evaluates `code` (a list of expressions) and gives its node's name.
  std::string start_beam(const std::string& alive, const std::string& code,
                         std::vector<std::string> extra = {}) {
    std::vector<std::string> argv{erl_program(), "-noinput",   "-sname",
                                  alive,         "-setcookie", kCookie};
    argv.insert(argv.end(), extra.begin(), extra.end());
    argv.insert(argv.end(), {"-eval", code});
    beams_.push_back(std::make_unique<Child>(
        argv, std::vector<std::string>{"ERL_EPMD_PORT=" + std::to_string(epmd_port_)}));
    return alive + "@" + test::short_host_name();
  }

  bool beam_said(const std::string& text) {
    const bool said = run_until(
        io_, [&] { return beams_.back()->output().find(text) != std::string::npos; },
        std::chrono::seconds(30));
    if (!said)
      ADD_FAILURE() << "the BEAM did not say " << text << " but:\n" << beams_.back()->output();
    return said;
  }

  boost::asio::io_context io_;
  std::uint16_t epmd_port_ = 0;
  std::unique_ptr<Child> epmd_;
  std::vector<std::unique_ptr<Child>> beams_;
};

TEST_F(LiveTest, WeDialABeamAndItPingsUs) {
  TinyNode node(io_, "tiny", epmd_port_);
  const std::string beam = start_beam("beam", "io:format(\"ready~n\").");
  ASSERT_TRUE(beam_said("ready"));
  const Result<void> dialled = node.dial(beam);
  ASSERT_TRUE(dialled.has_value()) << dialled.error().message;
  ASSERT_EQ(node.ups, std::vector<std::string>{beam});
  EXPECT_TRUE(node.to(beam)->has(kFlagPublished | kFlagFragments | kFlagAlias));
  // The BEAM is told, by a message to a name, nothing; it pings us at our request through its own
  // shell.
  const std::string pinger =
      start_beam("pinger", "io:format(\"~p~n\", [{ping, net_adm:ping('" + node.name() +
                               "'), lists:member('" + node.name() + "', nodes())}]).");
  ASSERT_TRUE(beam_said("{ping,pong,true}"));
  EXPECT_EQ(node.pings, 1);
}

TEST_F(LiveTest, ABeamDialsUsByConnectNode) {
  TinyNode node(io_, "tiny", epmd_port_);
  const std::string beam =
      start_beam("beam", "io:format(\"~p~n\", [{connect, net_kernel:connect_node('" + node.name() +
                             "'), net_adm:ping('" + node.name() + "')}]).");
  ASSERT_TRUE(beam_said("{connect,true,pong}"));
  EXPECT_EQ(node.ups, std::vector<std::string>{beam});
}

TEST_F(LiveTest, AWrongCookieIsSaidInWordsOnBothSides) {
  TinyNode node(io_, "tiny", epmd_port_, {}, "another_cookie");
  const std::string beam = start_beam(
      "beam", "io:format(\"~p~n\", [{connect, net_kernel:connect_node('" + node.name() + "')}]).");
  ASSERT_TRUE(beam_said("{connect,false}"));
  ASSERT_FALSE(node.notes.empty());
  EXPECT_NE(node.notes.back().find("cookie"), std::string::npos) << node.notes.back();
  const Result<void> dialled = node.dial(beam);
  ASSERT_FALSE(dialled.has_value());
  EXPECT_EQ(dialled.error().code, ErrorCode::refused);
  EXPECT_NE(dialled.error().message.find("cookie"), std::string::npos) << dialled.error().message;
}

TEST_F(LiveTest, LongMessagesGoBothWaysInFragments) {
  TinyNode node(io_, "tiny", epmd_port_);
  start_beam("beam",
             "register(me, self()), B = binary:copy(<<\"0123456789abcdef\">>, 500000),"
             "{echo, '" +
                 node.name() + "'} ! B, {other, '" + node.name() +
                 "'} ! small,"
                 "receive B -> io:format(\"same~n\") after 20000 -> io:format(\"lost~n\") end.");
  ASSERT_TRUE(beam_said("same"));
  EXPECT_EQ(node.last_echo.size(), 8000000u + 5);
  EXPECT_GT(node.message_bytes["other"], 0u);
}

TEST_F(LiveTest, ARestartedNodeTakesItsOldPlaceByAlive) {
  const std::string code =
      "net_kernel:monitor_nodes(true), io:format(\"ready~n\"),"
      "F = fun(F) -> receive {nodeup, _} -> io:format(\"up~n\"); {nodedown, _} -> "
      "io:format(\"down~n\") end,"
      "F(F) end, F(F).";
  const std::string beam = start_beam("beam", code);
  ASSERT_TRUE(beam_said("ready"));
  const auto first = std::make_unique<TinyNode>(io_, "tiny", epmd_port_);
  ASSERT_TRUE(first->dial(beam).has_value());
  ASSERT_TRUE(beam_said("up\n"));
  // A second life of the same name on another epmd entry: the first one is still connected, as
  // after a crash that the BEAM has not noticed.
  EndpointOptions options;
  options.node_name = first->name();
  options.cookie = kCookie;
  options.creation = first->creation() + 1;
  options.epmd.port = epmd_port_;
  std::shared_ptr<Connection> second_up;
  Endpoint second(
      io_, options,
      {[&](std::shared_ptr<Connection> up) {
         up->start({[](const ControlMessage&, std::string_view) {}, [](const Error&) {}, {}});
         second_up = std::move(up);
       },
       {}});
  std::optional<Result<void>> outcome;
  second.dial(beam, [&](Result<void> result) { outcome = std::move(result); });
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  EXPECT_TRUE(outcome->has_value());
  ASSERT_TRUE(run_until(io_, [&] { return second_up && !first->downs.empty(); }));
  ASSERT_TRUE(beam_said("down\nup\n"));
}

/// Talks to a BEAM beside the distribution: `go NODE` makes it dial, `known NODE` asks whether it
/// has any connection with NODE, up, under way or being torn down.
class BeamControl {
 public:
  static constexpr char kLoop[] =
      "{ok, S} = gen_udp:open(0, [binary, {active, false}, {ip, {127,0,0,1}}]),"
      "{ok, P} = inet:port(S), io:format(\"udp ~p.~n\", [P]),"
      "F = fun(F) -> {ok, {A, Q, B}} = gen_udp:recv(S, 0),"
      " [C, N0] = string:split(B, \" \"), N = binary_to_atom(N0),"
      " case C of <<\"go\">> -> spawn(fun() -> net_kernel:connect_node(N) end);"
      "  <<\"known\">> -> gen_udp:send(S, A, Q, atom_to_list(ets:member(sys_dist, N))) end,"
      " F(F) end, F(F).";

  BeamControl(asio::io_context& io, const std::string& output)
      : socket_(io, {asio::ip::address_v4::loopback(), 0}) {
    const std::size_t at = output.find("udp ") + 4;
    beam_ = {asio::ip::address_v4::loopback(),
             static_cast<std::uint16_t>(std::stoi(output.substr(at)))};
  }

  void go(const std::string& node) { socket_.send_to(asio::buffer("go " + node), beam_); }
  bool known(const std::string& node) {
    socket_.send_to(asio::buffer("known " + node), beam_);
    char answer[16];
    return std::string_view(answer, socket_.receive(asio::buffer(answer))) == "true";
  }

 private:
  asio::ip::udp::socket socket_;
  asio::ip::udp::endpoint beam_;
};

TEST_F(LiveTest, BothDialAtOnceAndExactlyOneConnectionStays) {
  const std::string beam = start_beam("mm", BeamControl::kLoop);
  ASSERT_TRUE(beam_said(".\n"));
  BeamControl control(io_, beams_.back()->output());
  auto random = test::seeded_generator();
  // One name sorts before the BEAM's, one after: each side wins once.
  for (const char* alive : {"aa", "zz"}) {
    TinyNode node(io_, alive, epmd_port_);
    for (std::size_t round = 1; round <= 50; ++round) {
      const std::size_t ups = node.ups.size(), downs = node.downs.size();
      const std::size_t greeted = node.message_bytes["global_name_server"];
      control.go(node.name());
      for (std::size_t head_start = random() % 20; head_start > 0; --head_start) {
        io_.run_one_for(std::chrono::microseconds(50));
      }
      const Result<void> dialled = node.dial(beam);
      ASSERT_TRUE(dialled.has_value()) << round << ": " << dialled.error().message;
      ASSERT_TRUE(run_until(io_, [&] { return node.ups.size() == ups + 1; }));
      // It is the connection that the BEAM uses, too: the last of its first messages comes. (Were
      // we to hang up before, it would connect anew to send it.)
      ASSERT_TRUE(
          run_until(io_, [&] { return node.message_bytes["global_name_server"] > greeted; }));
      ASSERT_TRUE(node.downs.size() == downs) << "no connection was lost on the way";
      // A BEAM that comes to our `go` only now dials once more.
      ASSERT_TRUE(run_until(io_, [&] {
        node.endpoint->disconnect(beam, "test");
        return node.ups.size() == node.downs.size() && !control.known(node.name());
      }));
    }
  }
}

TEST_F(LiveTest, TheRegistrationSurvivesEpmd) {
  TinyNode node(io_, "tiny", epmd_port_);
  const std::uint32_t creation = node.creation();
  EXPECT_GE(creation, 4u);
  epmd_->kill();
  ASSERT_TRUE(run_until(io_, [&] { return !node.registered(); }));
  start_epmd();
  ASSERT_TRUE(run_until(io_, [&] { return node.registered(); }));
  EXPECT_EQ(node.creation(), creation);
  EXPECT_NE(node.notes.back().find("registered again"), std::string::npos);
}

TEST_F(LiveTest, ATakenNameIsSaidInWords) {
  TinyNode node(io_, "tiny", epmd_port_);
  epmd::Options options;
  options.port = epmd_port_;
  epmd::Registrar second(io_, options);
  std::optional<Result<std::uint32_t>> outcome;
  second.start({"tiny", 1, true}, [&](const Result<std::uint32_t>& result) { outcome = result; });
  ASSERT_TRUE(run_until(io_, [&] { return outcome.has_value(); }));
  ASSERT_FALSE(outcome->has_value());
  EXPECT_EQ(outcome->error().code, ErrorCode::already_exists);
  EXPECT_NE(outcome->error().message.find("tiny is taken"), std::string::npos);
}

TEST_F(LiveTest, EpmdTellsItsNamesAndWhatItDoesNotKnow) {
  TinyNode node(io_, "tiny", epmd_port_);
  epmd::Options options;
  options.port = epmd_port_;
  std::optional<Result<std::vector<epmd::NamedPort>>> all;
  epmd::names(io_, options, "localhost", [&](auto result) { all = std::move(result); });
  ASSERT_TRUE(run_until(io_, [&] { return all.has_value(); }));
  ASSERT_TRUE(all->has_value());
  ASSERT_EQ((*all)->size(), 1u);
  EXPECT_EQ((**all)[0].alive_name, "tiny");
  std::optional<Result<epmd::NodeAddress>> found;
  epmd::lookup(io_, options, "nobody", "localhost",
               [&](auto result) { found = std::move(result); });
  ASSERT_TRUE(run_until(io_, [&] { return found.has_value(); }));
  ASSERT_FALSE(found->has_value());
  EXPECT_EQ(found->error().code, ErrorCode::not_found);
}

TEST_F(LiveTest, ASilentBeamIsDroppedAndOurTicksKeepALivingOne) {
  ConnectionOptions connection;
  connection.net_ticktime = std::chrono::milliseconds(2000);
  TinyNode node(io_, "tiny", epmd_port_, connection);
  const std::string beam =
      start_beam("beam", "io:format(\"ready~n\").", {"-kernel", "net_ticktime", "2"});
  ASSERT_TRUE(beam_said("ready"));
  ASSERT_TRUE(node.dial(beam).has_value());
  const std::shared_ptr<Connection> connection_to_beam = node.to(beam);
  // Nothing but ticks keeps it up: more of them than silent intervals are allowed.
  std::uint64_t received = connection_to_beam->bytes_received();
  int arrivals = 0;
  ASSERT_TRUE(run_until(io_, [&] {
    const std::uint64_t now = connection_to_beam->bytes_received();
    if (now != received) ++arrivals;
    received = now;
    return arrivals == 9;
  }));
  EXPECT_TRUE(node.downs.empty());
  ::kill(beams_.back()->pid(), SIGSTOP);
  ASSERT_TRUE(run_until(io_, [&] { return !node.downs.empty(); }));
  EXPECT_NE(node.notes.back().find("silent"), std::string::npos) << node.notes.back();
}

TEST(EpmdClientTest, WithoutEpmdTheErrorSaysWhatToDo) {
  boost::asio::io_context io;
  epmd::Options options;
  options.port = test::free_port();
  options.start_daemon = false;
  epmd::Registrar registrar(io, options);
  std::optional<Result<std::uint32_t>> outcome;
  registrar.start({"tiny", 1, true},
                  [&](const Result<std::uint32_t>& result) { outcome = result; });
  ASSERT_TRUE(run_until(io, [&] { return outcome.has_value(); }));
  ASSERT_FALSE(outcome->has_value());
  EXPECT_EQ(outcome->error().code, ErrorCode::unavailable);
  EXPECT_NE(outcome->error().message.find("epmd -daemon"), std::string::npos);
  std::optional<Result<epmd::NodeAddress>> found;
  epmd::lookup(io, options, "tiny", "localhost", [&](auto result) { found = std::move(result); });
  ASSERT_TRUE(run_until(io, [&] { return found.has_value(); }));
  ASSERT_FALSE(found->has_value());
  EXPECT_EQ(found->error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace rakv::distribution
