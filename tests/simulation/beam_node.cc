// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/beam_node.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/writer.h"
#include "cnode/node/gen.h"
#include "cnode/node/process.h"
#include "raft/wire/ids.h"
#include "raft/wire/tagged.h"

namespace rakv::simulation {
namespace {

/// ra_server_sup: so many restarts in this time, then the server stays down.
constexpr std::size_t kMostRestarts = 2;
constexpr Nanoseconds kRestartTime = std::chrono::seconds(5);
constexpr std::chrono::seconds kApplyTime{120};

}  // namespace

/// A server with its pid, its timers and its monitors.
class BeamNode::ServerProcess final : public node::Process,
                                      public std::enable_shared_from_this<ServerProcess> {
 public:
  ServerProcess(BeamNode& owner, std::string name, BeamDisk& disk)
      : owner_(owner), name_(std::move(name)), disk_(disk) {}

  void start() {
    pid_ = node().spawn(*this);
    RAKV_CHECK(node().register_name(name_, pid_));
    server_ = std::make_unique<BeamServer>(disk_, seams(), owner_.witness_, BeamServer::Options{});
    server_->start();
  }
  void on_message(std::string_view message) override {
    const auto parsed = node::parse_gen_message(message);
    if (!parsed || server_->ended()) return;
    if (parsed->kind == node::GenMessage::Kind::call) {
      server_->on_call(parsed->from, parsed->request);
    } else if (parsed->kind == node::GenMessage::Kind::cast) {
      server_->on_cast(parsed->request);
    }
  }
  void on_down(const etf::Reference& monitor, std::string_view reason) override {
    for (const auto& [number, reference] : monitors_) {
      if (reference != monitor) continue;
      const std::uint64_t ended = number;
      monitors_.erase(ended);
      return server_->on_down(ended, etf::Cursor(reason).is_atom("noconnection"));
    }
  }
  BeamServer& server() { return *server_; }
  BeamDisk& disk() { return disk_; }
  const etf::Pid& pid() const { return pid_; }
  /// Nothing rings any more.
  void end() { timers_.clear(); }

 private:
  node::Node& node() { return *owner_.life_->node; }
  boost::asio::io_context& io() { return owner_.life_->runtime->io(); }
  BeamSeams seams();
  void add_messages(BeamSeams& seams);
  void add_surroundings(BeamSeams& seams);
  void set_timer(const std::string& name, std::uint64_t milliseconds) {
    auto& timer = timers_[name];
    timer = std::make_unique<Timer>(io(), std::chrono::milliseconds(milliseconds));
    timer->async_wait([weak = weak_from_this(), name](boost::system::error_code error) {
      const auto self = weak.lock();
      if (!error && self && !self->server_->ended()) self->server_->on_timer(name);
    });
  }

  BeamNode& owner_;
  std::string name_;
  BeamDisk& disk_;
  etf::Pid pid_;
  std::unique_ptr<BeamServer> server_;
  std::map<std::string, std::unique_ptr<Timer>> timers_;
  std::map<std::uint64_t, etf::Reference> monitors_;
  std::uint64_t last_monitor_ = 0;
};

BeamSeams BeamNode::ServerProcess::seams() {
  BeamSeams seams;
  add_messages(seams);
  add_surroundings(seams);
  return seams;
}

void BeamNode::ServerProcess::add_messages(BeamSeams& seams) {
  seams.cast = [this](const raft::ServerId& to, std::string_view record) {
    node().cast(pid_, to.node(), to.name(),
                [&](distribution::OutMessage& out) { out.text.append(record); });
  };
  seams.send = [this](std::string_view pid, std::string_view message) {
    etf::Cursor cursor(pid);
    const auto to = cursor.pid_view();
    if (!to) return;
    node().send(pid_, *to, [&](distribution::OutMessage& out) { out.text.append(message); });
  };
  seams.reply = [this](std::string_view from, std::string_view term) {
    node().reply(pid_, from, [&](distribution::OutMessage& out) { out.text.append(term); });
  };
  seams.call = [this](const raft::ServerId& to, const std::string& request,
                      std::uint64_t milliseconds, BeamSeams::Answer answer) {
    node().call(
        to.node(), to.name(), [&](distribution::OutMessage& out) { out.text.append(request); },
        std::chrono::milliseconds(milliseconds),
        [answer = std::move(answer)](const node::CallResult& result) {
          const bool replied = result.status == node::CallResult::Status::reply;
          answer(replied ? std::optional<std::string>(result.term) : std::nullopt);
        });
  };
  seams.apply = [this](const std::string& to, std::string_view module, std::string_view function,
                       const std::string& arguments, BeamSeams::Answer answer) {
    node().apply(to, module, function, arguments, kApplyTime,
                 [answer = std::move(answer)](const node::ApplyResult& result) {
                   const bool returned = result.status == node::ApplyResult::Status::returned;
                   answer(returned ? std::optional<std::string>(result.term) : std::nullopt);
                 });
  };
}

void BeamNode::ServerProcess::add_surroundings(BeamSeams& seams) {
  seams.monitor = [this](const raft::ServerId& id) {
    monitors_[++last_monitor_] = node().monitor(pid_, id.node(), id.name());
    return last_monitor_;
  };
  seams.demonitor = [this](std::uint64_t monitor) {
    const auto found = monitors_.find(monitor);
    if (found == monitors_.end()) return;
    node().demonitor(found->second);
    monitors_.erase(found);
  };
  seams.connect = [this](const std::string& to) { node().connect(to, nullptr); };
  seams.is_connected = [this](const std::string& to) { return node().is_connected(to); };
  seams.watch_node = [this](const std::string& to) {
    boost::asio::post(io(), [weak = weak_from_this(), to] {
      const auto self = weak.lock();
      if (!self || self->server_->ended()) return;
      self->server_->on_node_status(to, self->node().status(to) == node::NodeStatus::up);
    });
  };
  seams.set_timer = [this](const std::string& name, std::uint64_t ms) { set_timer(name, ms); };
  seams.cancel_timer = [this](const std::string& name) { timers_.erase(name); };
  seams.now_ms = [this] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               node().clock().wall_now().time_since_epoch())
        .count();
  };
  seams.draw = [this](std::uint64_t most) { return 1 + owner_.life_->random() % most; };
  seams.make_token = [this] { return etf::Writer().reference(node().make_reference()).take(); };
  seams.wake_wal = [this] { owner_.wake_wal(); };
  seams.background = [this](std::function<void()> job) {
    owner_.after(owner_.life_->runtime->duration(owner_.background_pace), std::move(job));
  };
  seams.later = [this](std::function<void()> job) { boost::asio::post(io(), std::move(job)); };
  seams.ended = [this](const std::string& reason) { owner_.server_ended(name_, reason); };
}

// --- the node

BeamNode::BeamNode(Schedule& schedule, SimulatedNetwork& network, Trace& trace,
                   const std::string& name, std::uint64_t seed, BeamWitness& witness)
    : SimulatedNode(schedule, network, trace, name, seed),
      witness_(witness),
      machine_random_(seed) {}

BeamNode::~BeamNode() {
  if (BeamNode::runs()) BeamNode::kill(raftlog::CrashMode::keep_everything);
}

void BeamNode::start() {
  RAKV_CHECK(!runs());
  trace_.line(name() + " starts, as a BEAM");
  life_ = std::make_unique<Life>();
  const Runtime::Options options = next_life();
  life_->random.seed(options.seed + 2);
  life_->runtime = Runtime::make(schedule_, network_, options);
  node::NodeOptions node;
  node.name = name();
  node.cookie = kCookie;
  node.epmd = epmd_options();
  node.memory = &life_->runtime->memory();
  life_->node.emplace(life_->runtime->io(), node);
  add_functions();
  life_->node->subscribe(*this);
  life_->node->start([this](const Result<void>& started) {
    RAKV_CHECK(started || started.error().code != ErrorCode::invalid_argument);
    life_->failed = !started;
    if (!started) return;
    life_->node->accept_peers();
    life_->serves = true;
    trace_.line(name() + " serves");
  });
  life_->runtime->turn();
}

void BeamNode::kill(raftlog::CrashMode mode) {
  trace_.line(name() + " is killed");
  life_->runtime->switch_off();
  for (auto& [server, process] : life_->servers) process->end();
  life_->node->unsubscribe(*this);
  life_->node.reset();
  life_->servers.clear();
  life_.reset();
  for (auto& [server, disk] : disks_) disk->crash(mode, machine_random_);
}

void BeamNode::add_functions() {
  node::RpcTable& functions = life_->node->functions();
  const auto server_of = [this](std::string_view id) -> BeamRules* {
    etf::Cursor cursor(id);
    const auto server = wire::read_server_id(cursor);
    return server ? rules(server->name()) : nullptr;
  };
  functions.add("ra_log_snapshot", "context", 0, [](node::RpcCall call) {
    call.answer(etf::Writer().map(1).atom("can_accept_full_file").atom("true").take());
  });
  functions.add("ra_machine", "version", 1,
                [](node::RpcCall call) { call.answer(etf::Writer().integer(0).take()); });
  functions.add("ra_counters", "counters", 2, [server_of](node::RpcCall call) {
    const BeamRules* const found = server_of(call.argument(0));
    if (found == nullptr) return call.answer(etf::Writer().atom("undefined").take());
    call.answer(
        etf::Writer().map(1).atom("last_applied").u64(found->last_applied().value()).take());
  });
  functions.add("ra_kv", "read_entry", 4, [server_of](node::RpcCall call) {
    const BeamRules* const found = server_of(call.argument(0));
    if (found == nullptr)
      return call.answer(etf::Writer().tuple(2).atom("error").atom("noproc").take());
    call.answer(
        beam_read_entry(*found, etf::Cursor(call.argument(1)).u64().value_or(0), call.argument(2)));
  });
  functions.add("ra_directory", "uid_of", 2, [this](node::RpcCall call) {
    const auto found = disks_.find(std::string(etf::Cursor(call.argument(1)).atom().value_or("")));
    if (found == disks_.end()) return call.answer(etf::Writer().atom("undefined").take());
    call.answer(etf::Writer().binary(found->second->config.uid).take());
  });
}

void BeamNode::on_node_up(const std::string& node) {
  for (const auto& [name, process] : std::map(life_->servers)) process->server().on_node_up(node);
}

void BeamNode::on_node_status(const std::string& node, node::NodeStatus status) {
  for (const auto& [name, process] : std::map(life_->servers))
    process->server().on_node_status(node, status == node::NodeStatus::up);
}

// --- servers

void BeamNode::start_server(const std::string& name) {
  ++starts_[name];
  auto process = std::make_shared<ServerProcess>(*this, name, *disks_.at(name));
  life_->servers[name] = process;
  process->start();
}

void BeamNode::end_server(const std::string& name, std::string_view reason) {
  const auto found = life_->servers.find(name);
  if (found == life_->servers.end()) return;
  const std::shared_ptr<ServerProcess> process = found->second;
  life_->servers.erase(found);
  process->end();
  life_->node->terminate(process->pid(), reason);
  // What is under way in it comes to its end first.
  boost::asio::post(life_->runtime->io(), [process] {});
}

void BeamNode::server_ended(const std::string& name, const std::string& reason) {
  trace_.line(this->name() + " " + name + " ends: " + reason);
  etf::Writer term;
  if (reason == "delete") {
    term.tuple(2).atom("shutdown").atom("delete");
  } else if (reason == "crash") {
    term.tuple(2).atom("badmatch").nil();
  } else {
    term.atom(reason);
  }
  end_server(name, term.view());
  // The log goes with the process, which is still on the stack.
  boost::asio::post(life_->runtime->io(), [this, name, reason] {
    if (reason == "delete") disks_.erase(name);
    if (reason == "crash") restart_after_crash(name);
  });
}

void BeamNode::restart_after_crash(const std::string& name) {
  auto& crashes = life_->crashes[name];
  crashes.push_back(schedule_.now());
  while (crashes.front() + kRestartTime < schedule_.now()) crashes.pop_front();
  if (crashes.size() > kMostRestarts || life_->servers.contains(name) || !disks_.contains(name))
    return;
  start_server(name);
}

void BeamNode::stop_server(const std::string& server) {
  if (!obeys() || rules(server) == nullptr) return;
  trace_.line(name() + " stops " + server);
  end_server(server, etf::Writer().atom("shutdown").view());
  life_->runtime->turn();
}

void BeamNode::restart_server(const std::string& server) {
  if (!obeys() || !disks_.contains(server) || life_->servers.contains(server)) return;
  trace_.line(name() + " starts " + server);
  start_server(server);
  life_->runtime->turn();
}

void BeamNode::make_server(const std::string& server, const std::string& uid,
                           const std::vector<raft::ServerId>& members) {
  if (!obeys() || disks_.contains(server)) return;
  auto disk = std::make_unique<BeamDisk>();
  disk->config = {{server, name()}, uid, members, raft::Membership::voter};
  disks_[server] = std::move(disk);
  start_server(server);
  life_->runtime->turn();
}

void BeamNode::delete_server(const std::string& server) {
  if (!obeys()) return;
  end_server(server, etf::Writer().tuple(2).atom("shutdown").atom("delete").view());
  life_->runtime->turn();
  disks_.erase(server);
}

void BeamNode::crash_server(const std::string& server) {
  if (!obeys() || rules(server) == nullptr) return;
  end_server(server, etf::Writer().atom("killed").view());
  restart_after_crash(server);
  life_->runtime->turn();
}

void BeamNode::ping(const std::vector<std::string>& nodes) {
  if (!obeys()) return;
  for (const std::string& other : nodes) {
    if (other != name() && !life_->node->is_connected(other)) life_->node->connect(other, nullptr);
  }
  life_->runtime->turn();
}

void BeamNode::trigger_election(const std::string& server) {
  const auto found = life_->servers.find(server);
  if (found == life_->servers.end()) return;
  found->second->server().on_cast(etf::Writer().atom("election_timeout").view());
  life_->runtime->turn();
}

// --- the disk

void BeamNode::after(Nanoseconds time, std::function<void()> job) {
  schedule_.after(time, [weak = std::weak_ptr(life_->runtime), job = std::move(job)] {
    const auto runtime = weak.lock();
    if (!runtime) return;
    runtime->when_it_runs([weak, job] {
      const auto living = weak.lock();
      if (!living) return;
      job();
      living->turn();
    });
  });
}

/// One WAL for all servers, as ra's: what has come until a batch begins is in it.
void BeamNode::wake_wal() {
  std::map<std::string, std::size_t> batch;
  for (const auto& [server, disk] : disks_) {
    if (disk->unsynced() > 0) batch[server] = disk->unsynced();
  }
  if (batch.empty() || std::exchange(life_->wal_is_due, true)) return;
  after(life_->runtime->duration(wal_pace), [this, batch] { run_wal(batch); });
}

void BeamNode::run_wal(const std::map<std::string, std::size_t>& batch) {
  life_->wal_is_due = false;
  for (const auto& [server, count] : batch) {
    const auto disk = disks_.find(server);
    if (disk == disks_.end()) continue;
    const auto written = disk->second->sync(count);
    const auto process = life_->servers.find(server);
    if (process == life_->servers.end()) continue;
    const auto kept = process->second;
    kept->server().on_written(written);
  }
  wake_wal();
}

// --- for the judges

BeamRules* BeamNode::rules(const std::string& server) {
  if (!serves()) return nullptr;
  const auto found = life_->servers.find(server);
  return found == life_->servers.end() ? nullptr : &found->second->server().rules();
}

std::uint64_t BeamNode::starts(const std::string& server) const {
  const auto found = starts_.find(server);
  return found == starts_.end() ? 0 : found->second;
}

std::optional<std::pair<raft::Role, raft::Term>> BeamNode::standing(const std::string& server) {
  const BeamRules* const found = rules(server);
  if (found == nullptr) return std::nullopt;
  return std::pair(found->role(), found->term());
}

std::optional<MemberView> BeamNode::view(const std::string& server) {
  BeamRules* const found = rules(server);
  if (found == nullptr) return std::nullopt;
  MemberView view;
  view.id = found->id();
  view.role = found->role();
  view.term = found->term();
  view.last = found->log().last().index;
  view.commit = std::min(found->commit_index(), view.last);
  view.applied = found->last_applied();
  view.leader = found->leader();
  const auto configuration = [](const BeamCluster& cluster) {
    raft::Cluster members;
    for (const auto& [member, peer] : cluster) members[member] = peer.config;
    return members;
  };
  view.cluster = configuration(found->cluster());
  if (found->previous_cluster() != nullptr && found->cluster_at().index > view.commit)
    view.committed_cluster = configuration(*found->previous_cluster());
  view.live = found->machine().live_indexes();
  std::sort(view.live.begin(), view.live.end());
  return view;
}

std::optional<raft::Term> BeamNode::term_at(raft::Index index, const std::string& server) {
  const BeamRules* const found = rules(server);
  if (found == nullptr) return std::nullopt;
  return found->log().fetch_term_or_snapshot(index);
}

void BeamNode::visit_durable(const std::function<void(const std::string& bytes)>& visit) const {
  for (const auto& [server, disk] : disks_) {
    for (const auto& [index, entry] : disk->entries()) visit(std::string(entry.payload.view()));
  }
}

std::unique_ptr<BeamDisk> BeamNode::after_power_cut(const std::string& server) const {
  const auto found = disks_.find(server);
  if (found == disks_.end()) return nullptr;
  auto left = std::make_unique<BeamDisk>(*found->second);
  std::mt19937_64 unused;
  left->crash(raftlog::CrashMode::lose_unsynced, unused);
  return left;
}

}  // namespace rakv::simulation
