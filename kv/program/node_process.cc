// SPDX-License-Identifier: Apache-2.0
#include "kv/program/node_process.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "kv/program/takeover_conditions.h"
#include "kv/read_entry.h"

namespace rakv::kv {
namespace {

/// How long a name or port that is taken is asked for again.
constexpr std::chrono::milliseconds kTakenNamePatience{2000};
constexpr std::chrono::milliseconds kTakenNamePause{100};

}  // namespace

NodeProcess::NodeProcess(boost::asio::io_context& io, raftlog::Disk& disk, MemoryAccounts& memory,
                         Executor& owner, NodeExecutors executors, NodeProcessOptions options)
    : io_(io),
      disk_(disk),
      owner_(owner),
      options_(std::move(options)),
      began_(Clock::of(io).now()),
      executors_(std::move(executors)),
      name_pause_(io) {
  options_.node.memory = &memory;
  options_.log.memory_budget_bytes = memory.budget;
  options_.log.background = executors_.background.get();
  options_.log.now = [&clock = Clock::of(io)] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock.now().time_since_epoch());
  };
  options_.log.admit = [name = options_.node.name](const raftlog::ServerConfig& config) {
    return can_take_over(config, name);
  };
}

NodeProcess::~NodeProcess() = default;

Result<void> NodeProcess::open() {
  Result<std::unique_ptr<raftlog::LogSystem>> opened =
      raftlog::LogSystem::open(options_.directory, disk_, owner_, *executors_.worker, options_.log);
  if (!opened) return opened.error();
  log_system_ = std::move(*opened);
  for (const std::string& notice : log_system_->notices()) spdlog::warn("{}", notice);
  return {};
}

void NodeProcess::start(std::function<void(Result<void>)> done) {
  done_ = std::move(done);
  start_node();
}

void NodeProcess::tell(Result<void> result) { std::exchange(done_, nullptr)(std::move(result)); }

/// epmd may hold the name of a node that has just ended for a moment longer, and the kernel its
/// port: both are asked for again.
void NodeProcess::start_node() {
  node_ = std::make_unique<node::Node>(io_, options_.node);
  node_->start([this](const Result<void>& started) {
    if (started) return serve();
    const bool taken = started.error().code == ErrorCode::already_exists;
    if (!taken || name_pause_.now() > began_ + kTakenNamePatience) return tell(started);
    name_pause_.expires_after(kTakenNamePause);
    name_pause_.async_wait([this](boost::system::error_code error) {
      if (!error) start_node();
    });
  });
}

void NodeProcess::serve() {
  servers_ = std::make_unique<system::ServerSystem>(io_, *node_, *log_system_, machines_);
  add_read_entry(*servers_);
  client_service_ = std::make_unique<ClientService>(io_, *servers_);
  client_service_->add_functions();
  if (options_.test_hooks)
    test_hooks_ = std::make_unique<TestHooks>(*servers_, *log_system_, *client_service_);
  servers_->start_registered([this] { bootstrap(); });
}

void NodeProcess::bootstrap() {
  if (options_.bootstrap.empty()) return accept();
  servers_->bootstrap(options_.bootstrap, [this](const Result<void>& made) {
    if (!made) return tell(made);
    accept();
  });
}

void NodeProcess::accept() {
  node_->accept_peers();
  for (const std::string& peer : options_.connect) node_->keep_connected(peer);
  tell({});
}

void NodeProcess::stop(std::chrono::milliseconds patience, std::function<void()> done) {
  if (servers_) servers_->stop();
  node_->stop(patience, std::move(done));
}

Result<void> NodeProcess::close() {
  if (!log_system_) return {};
  return log_system_->stop();
}

}  // namespace rakv::kv
