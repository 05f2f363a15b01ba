// SPDX-License-Identifier: Apache-2.0
#include "kv/program/start_command.h"

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "cnode/base/clock.h"
#include "cnode/base/owner_executor.h"
#include "cnode/base/printable.h"
#include "kv/program/cookie_option.h"
#include "kv/program/directory_users.h"
#include "kv/program/line_limiter.h"
#include "kv/program/node_name.h"
#include "kv/program/node_process.h"
#include "kv/program/resource_limits.h"
#include "raft/log/disk/disk.h"

namespace rakv::kv {
namespace {

constexpr std::chrono::milliseconds kNodeStopPatience{2000};
/// How long standard input is waited for to give the cookie.
constexpr std::chrono::seconds kCookiePatience{60};
/// How often a start that takes long says how far it has come.
constexpr std::chrono::seconds kProgressInterval{1};

/// Gives back to the operating system what the allocator holds beyond what is in use, when that is
/// more than an eighth of the budget: entries come and go in runs of many megabytes, and free pages
/// between what stays would else remain resident.
void release_free_memory(std::uint64_t memory_budget_bytes) {
  std::ifstream statm("/proc/self/statm");
  std::size_t size = 0;
  std::size_t resident_pages = 0;
  if (!(statm >> size >> resident_pages)) return;
  const std::size_t resident = resident_pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const struct mallinfo2 info = ::mallinfo2();
  if (resident > info.uordblks + info.hblkhd + memory_budget_bytes / 8) ::malloc_trim(0);
}

/// How often it is looked whether what peers had been sent, or had to fetch, is gone again.
constexpr std::chrono::seconds kMemoryInterval{1};

/// The operating system's process round a node: limits, cookie, signals, memory, the way out.
class Program {
 public:
  explicit Program(const StartOptions& options)
      : options_(options), owner_(io_), memory_timer_(io_), signals_(io_), parent_(io_) {}

  int run() {
    if (const Result<void> opened = open(); !opened) return fail(opened.error());
    process_->start([this](const Result<void>& started) {
      if (!started) return give_up(started.error());
      announce();
    });
    io_.run();
    if (const Result<void> stopped = process_->close(); !stopped)
      spdlog::error("the log was not stopped in order: {}", stopped.error().message);
    return exit_code_;
  }

 private:
  /// Everything is taken at the start that a node could lack later, or is bounded from then on.
  Result<void> share_out_resources() {
    const auto shares = DescriptorShares::of(raise_descriptor_limit());
    if (!shares) return shares.error();
    descriptors_ = *shares;
    BudgetChoice budget = choose_budget(options_.memory_budget_bytes, available_memory());
    memory_.emplace(budget.bytes);
    if (!budget.notice.empty()) spdlog::warn("{}", budget.notice);
    // The thread that looks up hosts is started by the first question.
    resolver_.async_resolve("localhost", "0", [](const auto&, const auto&) {});
    return {};
  }

  Result<void> open() {
    Result<std::string> name = options_.long_name.empty() ? short_node_name(options_.short_name)
                                                          : long_node_name(options_.long_name);
    if (!name) return name.error();
    Result<std::string> cookie =
        find_cookie({.text = options_.cookie, .file = options_.cookie_file, .may_create = true},
                    std::chrono::steady_clock::now() + kCookiePatience);
    if (!cookie) return cookie.error();
    std::error_code error;
    const std::filesystem::path directory =
        std::filesystem::absolute(options_.data_dir, error) / *name;
    if (const auto user = find_writer(directory.string())) {
      return make_error(ErrorCode::unavailable,
                        fmt::format("the data directory {} is in use by {}; stop that one, or "
                                    "choose another directory or node name",
                                    directory.string(), *user));
    }
    if (auto shared_out = share_out_resources(); !shared_out) return shared_out;
    disk_ = raftlog::make_posix_disk();
    NodeProcessOptions process;
    process.directory = directory.string();
    process.bootstrap = options_.bootstrap;
    process.connect = options_.connect;
    process.test_hooks = options_.test_hooks;
    process.log = log_options();
    process.node = node_options(*name, std::move(*cookie));
    process_.emplace(
        io_, *disk_, *memory_, owner_,
        NodeExecutors{std::make_unique<WorkerThread>(), std::make_unique<WorkerThread>()},
        std::move(process));
    return process_->open();
  }

  raftlog::LogSystemOptions log_options() const {
    raftlog::LogSystemOptions options;
    options.max_open_segments = descriptors_.segments;
    options.release_memory = [budget = memory_->budget] { release_free_memory(budget); };
    options.on_progress = [said = std::chrono::steady_clock::now()](const std::string& what,
                                                                    std::uint64_t done,
                                                                    std::uint64_t all) mutable {
      const auto now = std::chrono::steady_clock::now();
      if (now - said < kProgressInterval) return;
      said = now;
      spdlog::info("{}: {} of {}", what, done, all);
    };
    return options;
  }

  node::NodeOptions node_options(const std::string& name, std::string cookie) {
    node::NodeOptions options;
    options.name = name;
    options.cookie = std::move(cookie);
    options.listen_address =
        options_.listen_address.empty() ? default_listen_address(name) : options_.listen_address;
    options.listen_port = options_.listen_port;
    options.net_ticktime = std::chrono::seconds(options_.net_ticktime_s);
    options.max_half_open = descriptors_.handshakes;
    options.max_connections = descriptors_.connections;
    options.on_note = [this](const std::string& line) { peer_lines_.line(line); };
    return options;
  }

  void announce() {
    watch_for_the_end();
    watch_memory();
    node::Node& node = process_->node();
    spdlog::info("node {} serves on port {}, data in {}", node.name(), node.port(),
                 process_->log_system().directory());
    std::printf("ready %s %u\n", node.name().c_str(), static_cast<unsigned>(node.port()));
    std::fflush(stdout);
  }

  /// The allocator keeps what is freed; after a flood it gives it back.
  void watch_memory() {
    ByteAccount& sum = memory_->sum;
    most_used_ = std::max(most_used_, sum.take_recent_peak());
    if (sum.used() + memory_->budget / 64 < most_used_) {
      most_used_ = sum.used();
      process_->background().post([budget = memory_->budget] { release_free_memory(budget); });
    }
    memory_timer_.expires_after(kMemoryInterval);
    memory_timer_.async_wait([this](boost::system::error_code error) {
      if (!error && !ending_) watch_memory();
    });
  }

  void watch_for_the_end() {
    signals_.add(SIGTERM);
    signals_.add(SIGINT);
    signals_.async_wait([this](boost::system::error_code error, int number) {
      if (!error) end(number == SIGTERM ? "SIGTERM" : "SIGINT");
    });
    if (!options_.exit_with_parent) return;
    parent_.assign(::dup(STDIN_FILENO));
    read_parent();
  }

  void read_parent() {
    parent_.async_read_some(boost::asio::buffer(parent_bytes_),
                            [this](boost::system::error_code error, std::size_t) {
                              if (!error) return read_parent();
                              if (error != boost::asio::error::operation_aborted)
                                end("end of standard input");
                            });
  }

  void end(const char* why) {
    if (ending_) return;
    ending_ = true;
    spdlog::info("stopping: {}", why);
    signals_.cancel();
    memory_timer_.cancel();
    boost::system::error_code ignored;
    parent_.close(ignored);
    process_->stop(kNodeStopPatience, [this] {
      spdlog::info("node {} has stopped", process_->node().name());
      io_.stop();
    });
  }

  int fail(const Error& error) {
    spdlog::critical("{}", error.message);
    return 1;
  }

  void give_up(const Error& error) {
    exit_code_ = fail(error);
    io_.stop();
  }

  const StartOptions& options_;
  DescriptorShares descriptors_;
  std::optional<MemoryAccounts> memory_;
  std::uint64_t most_used_ = 0;  ///< of the accounts, since memory was given back
  /// Whoever reaches the port can make the node say why it refuses him.
  LineLimiter peer_lines_{[](const std::string& line) { spdlog::info("{}", line); }};
  std::unique_ptr<raftlog::Disk> disk_;
  boost::asio::io_context io_{1};
  boost::asio::ip::tcp::resolver resolver_{io_};
  OwnerExecutor owner_;
  std::optional<NodeProcess> process_;
  Timer memory_timer_;
  boost::asio::signal_set signals_;
  boost::asio::posix::stream_descriptor parent_;
  std::array<char, 256> parent_bytes_{};
  bool ending_ = false;
  int exit_code_ = 0;
};

/// What was said, as one line whoever's words are in it: names, reasons and terms of peers.
class PrintableText : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string line = printable({message.payload.data(), message.payload.size()});
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PrintableText>();
  }
};

void set_up_log(const std::string& level) {
  auto logger =
      std::make_shared<spdlog::logger>("rakv", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<PrintableText>('*').set_pattern("%Y-%m-%d %H:%M:%S.%e [%l] %*");
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace

int run_start_command(const StartOptions& options) {
  set_up_log(options.log_level);
  for (const std::string& notice : options.notices) spdlog::warn("{}", notice);
  std::signal(SIGPIPE, SIG_IGN);
  // What a node writes is its owner's alone, whatever makes the file.
  ::umask(077);
  try {
    return Program(options).run();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) throw;
    spdlog::critical(
        "a thread can't be started ({}): raise the limit on processes (ulimit -u, pids.max of the "
        "cgroup), and start again",
        error.what());
    return 1;
  }
}

}  // namespace rakv::kv
