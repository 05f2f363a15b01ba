// SPDX-License-Identifier: Apache-2.0
#include "kv/program/start_command.h"

#include <malloc.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

#include "cnode/base/memory_accounts.h"
#include "cnode/base/printable.h"
#include "cnode/distribution/turn.h"
#include "cnode/node/node.h"
#include "kv/program/cookie_option.h"
#include "kv/program/directory_users.h"
#include "kv/program/line_limiter.h"
#include "kv/program/node_name.h"
#include "kv/program/resource_limits.h"
#include "kv/program/takeover_conditions.h"
#include "kv/program/test_hooks.h"
#include "kv/read_entry.h"
#include "kv/remote_client.h"
#include "kv/replicated_machine.h"
#include "raft/log/disk/disk.h"
#include "raft/log/system.h"
#include "raft/system/server_system.h"

namespace rakv::kv {
namespace {

constexpr std::chrono::milliseconds kStopPatience{2000};
/// How long a name or port that is taken is asked for again.
constexpr std::chrono::milliseconds kNamePatience{2000};
constexpr std::chrono::milliseconds kNamePause{100};
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

/// The log's way back to the owner thread: each job is a turn of its own. What the owner itself
/// posts in a turn is done at its end, unless that would overtake something posted before.
class IoExecutor : public Executor {
 public:
  explicit IoExecutor(boost::asio::io_context& io) : io_(io), turn_(distribution::Turn::of(io)) {}

  void post(std::function<void()> job) override {
    const bool by_owner = std::this_thread::get_id() == owner_;
    if (by_owner && turn_.open() && under_way_ == 0) return turn_.at_end(std::move(job));
    if (by_owner) ++under_way_;
    boost::asio::post(io_, [this, by_owner, job = std::move(job)] {
      const distribution::Turn::Scope turn(turn_);
      if (by_owner) --under_way_;
      job();
    });
  }

 private:
  boost::asio::io_context& io_;
  distribution::Turn& turn_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::size_t under_way_ = 0;  ///< of the owner's own jobs, in the io_context
};

/// The node with everything in it, from the first file to the last reply.
class Program {
 public:
  explicit Program(const StartOptions& options)
      : options_(options),
        owner_(io_),
        name_pause_(io_),
        memory_timer_(io_),
        signals_(io_),
        parent_(io_) {}

  int run() {
    if (const Result<void> opened = open(); !opened) return fail(opened.error());
    start_node();
    io_.run();
    if (log_system_) {
      if (const Result<void> stopped = log_system_->stop(); !stopped) {
        spdlog::error("the log was not stopped in order: {}", stopped.error().message);
      }
    }
    return exit_code_;
  }

 private:
  /// Everything is taken at the start that a node could lack later, or is bounded from then on.
  Result<void> share_out_resources() {
    const auto shares = DescriptorShares::of(raise_descriptor_limit());
    if (!shares) return shares.error();
    descriptors_ = *shares;
    BudgetChoice budget = choose_budget(options_.memory_budget_bytes, available_memory());
    memory_budget_bytes_ = budget.bytes;
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
    node_name_ = std::move(*name);
    Result<std::string> cookie =
        find_cookie({.text = options_.cookie, .file = options_.cookie_file, .may_create = true},
                    std::chrono::steady_clock::now() + kCookiePatience);
    if (!cookie) return cookie.error();
    std::error_code error;
    const std::filesystem::path directory =
        std::filesystem::absolute(options_.data_dir, error) / node_name_;
    if (const auto user = process_using(directory.string())) {
      return make_error(ErrorCode::unavailable, "the data directory " + directory.string() +
                                                    " is in use by " + *user +
                                                    "; stop that one, or choose another directory "
                                                    "or node name");
    }
    if (auto shared_out = share_out_resources(); !shared_out) return shared_out;
    disk_ = raftlog::make_posix_disk();
    raftlog::LogSystemOptions log_options;
    log_options.memory_budget_bytes = memory_budget_bytes_;
    log_options.max_open_segments = descriptors_.segments;
    log_options.background = &background_;
    log_options.release_memory = [budget = memory_budget_bytes_] { release_free_memory(budget); };
    log_options.on_progress = [said = std::chrono::steady_clock::now()](const std::string& what,
                                                                        std::uint64_t done,
                                                                        std::uint64_t all) mutable {
      const auto now = std::chrono::steady_clock::now();
      if (now - said < kProgressInterval) return;
      said = now;
      spdlog::info("{}: {} of {}", what, done, all);
    };
    log_options.admit = [this](const raftlog::ServerConfig& config) {
      return can_take_over(config, node_name_);
    };
    Result<std::unique_ptr<raftlog::LogSystem>> opened =
        raftlog::LogSystem::open(directory.string(), *disk_, owner_, worker_, log_options);
    if (!opened) return opened.error();
    log_system_ = std::move(*opened);
    for (const std::string& notice : log_system_->notices()) spdlog::warn("{}", notice);

    node_options_.name = node_name_;
    node_options_.cookie = std::move(*cookie);
    node_options_.listen_address = options_.listen_address.empty()
                                       ? default_listen_address(node_name_)
                                       : options_.listen_address;
    node_options_.listen_port = options_.listen_port;
    node_options_.net_ticktime = std::chrono::seconds(options_.net_ticktime_s);
    node_options_.max_half_open = descriptors_.handshakes;
    node_options_.max_connections = descriptors_.connections;
    node_options_.memory = &*memory_;
    node_options_.on_note = [this](const std::string& line) { peer_lines_.line(line); };
    return {};
  }

  /// epmd may hold the name of a node that has just ended for a moment longer, and the kernel its
  /// port: both are asked for again.
  void start_node() {
    node_ = std::make_unique<node::Node>(io_, node_options_);
    node_->start([this](const Result<void>& started) {
      if (started) return serve();
      const bool taken = started.error().code == ErrorCode::already_exists;
      if (!taken || std::chrono::steady_clock::now() > began_ + kNamePatience)
        return give_up(started.error());
      name_pause_.expires_after(kNamePause);
      name_pause_.async_wait([this](boost::system::error_code error) {
        if (!error) start_node();
      });
    });
  }

  void serve() {
    servers_ = std::make_unique<member::ServerSystem>(io_, *node_, *log_system_, machines_);
    add_read_entry(*servers_);
    remote_client_ = std::make_unique<RemoteClient>(io_, *servers_);
    remote_client_->add_functions();
    if (options_.test_hooks) {
      test_hooks_ = std::make_unique<TestHooks>(*servers_, *log_system_, *remote_client_);
    }
    servers_->start_registered([this] { bootstrap(); });
  }

  void bootstrap() {
    if (options_.bootstrap.empty()) return announce();
    servers_->bootstrap(options_.bootstrap, [this](const Result<void>& made) {
      if (!made) return give_up(made.error());
      announce();
    });
  }

  void announce() {
    watch_for_the_end();
    watch_memory();
    node_->accept_peers();
    for (const std::string& peer : options_.connect) node_->keep_connected(peer);
    spdlog::info("node {} serves on port {}, data in {}", node_->name(), node_->port(),
                 log_system_->directory());
    std::printf("ready %s %u\n", node_->name().c_str(), static_cast<unsigned>(node_->port()));
    std::fflush(stdout);
  }

  /// The allocator keeps what is freed; after a flood it gives it back.
  void watch_memory() {
    most_used_ = std::max(most_used_, memory_->sum.take_recent_peak());
    if (memory_->sum.used() + memory_budget_bytes_ / 64 < most_used_) {
      most_used_ = memory_->sum.used();
      background_.post([budget = memory_budget_bytes_] { release_free_memory(budget); });
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
    if (servers_) servers_->stop();
    node_->stop(kStopPatience, [this] {
      spdlog::info("node {} has stopped", node_->name());
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
  std::uint64_t memory_budget_bytes_ = 0;
  /// Of what peers make the node hold; before all that has a share in it.
  std::optional<MemoryAccounts> memory_;
  std::uint64_t most_used_ = 0;  ///< of it, since memory was given back
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::string node_name_;
  node::NodeOptions node_options_;
  /// Whoever reaches the port can make the node say why it refuses him.
  LineLimiter peer_lines_{[](const std::string& line) { spdlog::info("{}", line); }};
  std::unique_ptr<raftlog::Disk> disk_;
  boost::asio::io_context io_{1};
  boost::asio::ip::tcp::resolver resolver_{io_};
  IoExecutor owner_;
  std::unique_ptr<raftlog::LogSystem> log_system_;
  // They end before the log system, which holds the directory's lock, and before the disk that
  // their jobs write to; what those post to the owner then is dropped with the io_context.
  WorkerThread worker_;
  WorkerThread background_;  ///< segment flushes: a vote must not wait behind them
  std::unique_ptr<node::Node> node_;
  KvMachineFactory machines_;
  std::unique_ptr<member::ServerSystem> servers_;
  std::unique_ptr<RemoteClient> remote_client_;
  std::unique_ptr<TestHooks> test_hooks_;
  boost::asio::steady_timer name_pause_;
  boost::asio::steady_timer memory_timer_;
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
