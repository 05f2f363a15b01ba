// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cnode/distribution/epmd.h"
#include "tests/cnode/distribution/support.h"

// What listens on epmd's port is no epmd, or one that is broken: errors in words, bounded in time
// and bytes.

namespace rakv::distribution {
namespace {

using test::run_until;

/// Listens on the loopback and gives everybody the same answer, again and again if `endless`, then
/// closes if `closes`.
class OddEpmd {
 public:
  OddEpmd(boost::asio::io_context& io, std::string answer, bool endless, bool closes)
      : acceptor_(io, {boost::asio::ip::address_v4::loopback(), 0}),
        answer_(std::move(answer)),
        endless_(endless),
        closes_(closes) {
    accept();
  }
  epmd::Options options() const {
    epmd::Options made;
    made.port = acceptor_.local_endpoint().port();
    made.deadline = std::chrono::milliseconds(300);
    made.reregister_interval = std::chrono::minutes(10);
    return made;
  }
  std::size_t sent() const { return sent_; }

 private:
  using Socket = std::shared_ptr<boost::asio::ip::tcp::socket>;
  void accept() {
    acceptor_.async_accept(
        [this](boost::system::error_code error, boost::asio::ip::tcp::socket socket) {
          if (error) return;
          read(std::make_shared<boost::asio::ip::tcp::socket>(std::move(socket)));
          accept();
        });
  }
  void read(const Socket& socket) {
    sockets_.push_back(socket);
    socket->async_read_some(boost::asio::buffer(request_),
                            [this, socket](boost::system::error_code error, std::size_t) {
                              if (!error) write(socket);
                            });
  }
  void write(const Socket& socket) {
    boost::asio::async_write(*socket, boost::asio::buffer(answer_),
                             [this, socket](boost::system::error_code error, std::size_t count) {
                               sent_ += count;
                               if (error) return;
                               if (endless_) return write(socket);
                               if (closes_) socket->close();
                             });
  }
  boost::asio::ip::tcp::acceptor acceptor_;
  std::string answer_;
  bool endless_, closes_;
  char request_[512];
  std::size_t sent_ = 0;
  std::vector<Socket> sockets_;
};

TEST(EpmdClientTest, OddAnswersToARegistrationAreErrorsInWords) {
  struct Case {
    std::string answer;
    bool endless, closes;
    ErrorCode code;
  };
  const std::string zero("v\0\0\0\0\0", 6);
  for (const Case& c :
       {Case{zero, false, false, ErrorCode::malformed},
        Case{"v", false, true, ErrorCode::malformed}, Case{"", false, true, ErrorCode::malformed},
        Case{"v", false, false, ErrorCode::timeout}, Case{"", false, false, ErrorCode::timeout},
        Case{std::string(5000, 'x'), true, false, ErrorCode::malformed}}) {
    boost::asio::io_context io;
    OddEpmd odd(io, c.answer, c.endless, c.closes);
    epmd::Registrar registrar(io, odd.options());
    std::optional<Result<std::uint32_t>> outcome;
    registrar.start({"tiny", 1, true},
                    [&](const Result<std::uint32_t>& result) { outcome = result; });
    ASSERT_TRUE(run_until(io, [&] { return outcome.has_value(); })) << c.answer.size();
    ASSERT_FALSE(outcome->has_value());
    EXPECT_EQ(outcome->error().code, c.code) << outcome->error().message;
    EXPECT_NE(outcome->error().message.find("epmd"), std::string::npos);
    EXPECT_FALSE(registrar.registered());
  }
}

TEST(EpmdClientTest, AnEpmdThatTalksOnIsLeft) {
  boost::asio::io_context io;
  OddEpmd odd(io, std::string("v\0\0\0\1\1", 6), true, false);
  epmd::Registrar registrar(io, odd.options());
  std::vector<std::string> events;
  registrar.on_event([&](const std::string& line) { events.push_back(line); });
  std::optional<Result<std::uint32_t>> outcome;
  registrar.start({"tiny", 1, true},
                  [&](const Result<std::uint32_t>& result) { outcome = result; });
  ASSERT_TRUE(run_until(io, [&] { return !events.empty(); }));
  EXPECT_TRUE(outcome->has_value());
  EXPECT_NE(events[0].find("what nobody asked for"), std::string::npos) << events[0];
  EXPECT_FALSE(registrar.registered());
}

TEST(EpmdClientTest, OddAnswersToALookUpAreErrorsInWords) {
  struct Case {
    std::string answer;
    bool endless, closes;
    ErrorCode code;
  };
  for (const Case& c :
       {Case{"w", false, true, ErrorCode::malformed}, Case{"w", false, false, ErrorCode::timeout},
        Case{"", false, true, ErrorCode::malformed},
        Case{std::string("w\0\0\0M\0\0\6\0\6", 10), false, false, ErrorCode::malformed},
        Case{std::string(5000, 'x'), true, false, ErrorCode::malformed}}) {
    boost::asio::io_context io;
    OddEpmd odd(io, c.answer, c.endless, c.closes);
    std::optional<Result<epmd::NodeAddress>> found;
    epmd::lookup(io, odd.options(), "tiny", "127.0.0.1",
                 [&](auto result) { found = std::move(result); });
    ASSERT_TRUE(run_until(io, [&] { return found.has_value(); })) << c.answer.size();
    ASSERT_FALSE(found->has_value());
    EXPECT_EQ(found->error().code, c.code) << found->error().message;
    EXPECT_NE(found->error().message.find("epmd"), std::string::npos) << found->error().message;
  }
  // All names: an answer has no length, so that only the end or a bound ends it.
  boost::asio::io_context io;
  OddEpmd odd(io, std::string(50000, 'x'), true, false);
  epmd::Options patient = odd.options();
  patient.deadline = std::chrono::minutes(10);
  std::optional<Result<std::vector<epmd::NamedPort>>> names;
  epmd::names(io, patient, "127.0.0.1", [&](auto result) { names = std::move(result); });
  ASSERT_TRUE(run_until(io, [&] { return names.has_value(); }));
  ASSERT_FALSE(names->has_value());
  EXPECT_EQ(names->error().code, ErrorCode::malformed);
  EXPECT_LT(odd.sent(), 16 * epmd::kMaxReplyBytes);
}

}  // namespace
}  // namespace rakv::distribution
