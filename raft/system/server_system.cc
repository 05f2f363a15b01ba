// SPDX-License-Identifier: Apache-2.0
#include "raft/system/server_system.h"

#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "cnode/base/check.h"
#include "cnode/etf/map_pairs.h"
#include "cnode/etf/version.h"
#include "cnode/node/gen.h"
#include "raft/member/server_config_term.h"
#include "raft/wire/tagged.h"

namespace rakv::system {
namespace {

constexpr std::chrono::seconds kMetadataInterval{5};
constexpr std::chrono::seconds kDiskCheckInterval{1};
/// So many checks without any progress, and others should lead: a disk that is only slow, or a
/// flush that the WAL waits for, gets further meanwhile.
constexpr int kChecksWithoutProgress = 5;
/// Before a server that could not be started for want of something is started again.
constexpr std::chrono::seconds kStartPause{1};

}  // namespace

/// The registered name ra_server_sup_sup: stop_server/2 ends with a call {terminate_child, Pid} to
/// it.
class ServerSystem::Supervisor : public node::Process {
 public:
  explicit Supervisor(ServerSystem& system) : system_(system) {}

  void on_message(std::string_view message) override {
    const std::optional<node::GenMessage> gen = node::parse_gen_message(message);
    if (!gen) return;
    if (gen->kind == node::GenMessage::Kind::call) return answer(gen->from, gen->request);
    const std::optional<node::SystemMessage> system = node::parse_system_message(gen->request);
    if (system) refuse(system->from, "unsupported_system_message", system->request);
  }

  /// The requests of supervisor.erl that can have an answer.
  void answer(std::string_view from, std::string_view request) {
    wire::Tagged asked(request);
    etf::Writer reply;
    if (asked.is("terminate_child", 2) && asked.elements.kind() == etf::TermKind::pid) {
      const std::optional<etf::PidView> child = asked.elements.pid_view();
      const std::optional<std::string> name = child ? system_.name_of(*child) : std::nullopt;
      if (name) {
        system_.unasked_.erase(*name);
        system_.stop_member(*name, "shutdown");
        reply.atom("ok");
      } else {
        reply.tuple(2).atom("error").atom("not_found");
      }
    } else if (asked.is("which_children", 0)) {
      reply.list(system_.members_.size());
      for (const auto& [name, member] : system_.members_) {
        reply.tuple(4).atom("undefined").pid(member->pid()).atom("supervisor");
        reply.list(1).atom("ra_server_sup").nil();
      }
      reply.nil();
    } else if (asked.is("count_children", 0)) {
      const std::size_t running = system_.members_.size();
      reply.list(4).tuple(2).atom("specs").integer(1);
      reply.tuple(2).atom("active").u64(running);
      reply.tuple(2).atom("supervisors").u64(running);
      reply.tuple(2).atom("workers").integer(0).nil();
    } else {
      return refuse(from, "unsupported_call", request);
    }
    send(from, reply);
  }

  etf::Pid pid;

 private:
  /// Nobody waits for an answer that never comes.
  void refuse(std::string_view from, std::string_view why, std::string_view request) {
    etf::Writer reply;
    reply.tuple(2).atom("error").tuple(2).atom(why).raw(request);
    send(from, reply);
  }

  void send(std::string_view from, const etf::Writer& reply) {
    system_.node_.reply(pid, from,
                        [&](distribution::OutMessage& out) { out.text.append(reply.view()); });
  }

  ServerSystem& system_;
};

ServerSystem::ServerSystem(boost::asio::io_context& io, node::Node& node,
                           raftlog::LogSystem& log_system,
                           const member::StateMachineFactory& machines)
    : io_(io),
      node_(node),
      log_system_(log_system),
      machines_(machines),
      services_{io,
                node,
                log_system,
                [this](etf::Writer& writer) { write_system_config(writer); },
                [this](const member::Member& member) { leader_or_cluster_changed(member); },
                [this](const std::string& name, raft::effect::StopReason reason) {
                  member_ended(name, reason);
                },
                [this](const std::string& name, const std::string& reason) {
                  restart_member(name, reason);
                },
                [&clock = Clock::of(io)] {
                  return std::chrono::duration_cast<std::chrono::milliseconds>(
                             clock.wall_now().time_since_epoch())
                      .count();
                }},
      supervisor_(std::make_unique<Supervisor>(*this)),
      disk_timer_(io),
      metadata_timer_(io) {
  supervisor_->pid = node_.spawn(*supervisor_);
  node_.register_name("ra_server_sup_sup", supervisor_->pid);
  log_system_.set_observer(this);
  add_server_functions();
  add_system_functions();
  add_operator_functions();
  flush_metadata_regularly();
  log_system_.check_space();
  check_disk_later();
}

ServerSystem::~ServerSystem() {
  *alive_ = false;
  log_system_.set_observer(nullptr);
}

member::Member* ServerSystem::find(std::string_view name) {
  const auto found = members_.find(name);
  return found == members_.end() ? nullptr : found->second.get();
}

std::optional<etf::Pid> ServerSystem::pid_of(std::string_view name) const {
  if (const auto found = members_.find(name); found != members_.end()) return found->second->pid();
  if (const auto found = starting_.find(name); found != starting_.end())
    return found->second.start->pid();
  return std::nullopt;
}

std::optional<std::string> ServerSystem::name_of(const etf::PidView& pid) const {
  for (const auto& [name, member] : members_) {
    if (member->pid().view() == pid) return name;
  }
  for (const auto& [name, starting] : starting_) {
    if (starting.start->pid().view() == pid) return name;
  }
  return std::nullopt;
}

void ServerSystem::start_registered(std::function<void()> done) {
  for (const auto& [uid, error] : log_system_.broken_servers()) {
    spdlog::error("server with uid {} can't be started: {}", uid, error.message);
  }
  // The last one to let go of it posts `done`.
  const std::shared_ptr<void> all(nullptr, [this, done = std::move(done), alive = alive_](void*) {
    if (*alive) boost::asio::post(io_, done);
  });
  for (raftlog::MemberLog* log : log_system_.members()) {
    const std::string name = log->config().id.name();
    if (find(name) != nullptr) continue;
    unasked_.insert(name);
    start_member(*log, [this, name, all, alive = alive_](const Result<member::Member*>& started) {
      if (started) return;
      spdlog::error("server {} can't be started: {}", name, started.error().message);
      if (*alive) unasked_.erase(name);
    });
  }
}

Result<member::MemberOptions> ServerSystem::member_options(
    const raftlog::ServerConfig& config) const {
  member::MemberOptions options;
  const auto integer = [&](std::string_view key, std::uint64_t otherwise) {
    etf::Cursor cursor(member::config_value(config, key));
    return cursor.kind() == etf::TermKind::integer ? cursor.u64().value_or(otherwise) : otherwise;
  };
  options.tick_timeout_ms =
      std::max<std::uint64_t>(integer("tick_timeout", options.tick_timeout_ms), 1);
  options.broadcast_time_ms =
      std::max<std::uint64_t>(integer("broadcast_time", options.broadcast_time_ms), 1);
  options.core.await_condition_timeout_ms =
      integer("await_condition_timeout", options.core.await_condition_timeout_ms);
  options.core.max_pipeline_count = integer("max_pipeline_count", options.core.max_pipeline_count);
  options.core.max_append_entries_rpc_batch_size =
      integer("max_append_entries_rpc_batch_size", options.core.max_append_entries_rpc_batch_size);
  options.min_snapshot_interval =
      etf::map_u64(etf::without_version(config.log_init_args), "min_snapshot_interval")
          .value_or(options.min_snapshot_interval);
  options.major_compaction_after = member::minors_before_major(
      etf::without_version(config.log_init_args), options.major_compaction_after);
  options.min_recovery_checkpoint_interval = integer("min_recovery_checkpoint_interval", 0);
  options.friendly_name = member::friendly_name(config);
  options.friendly_name_term = member::config_value(config, "friendly_name");
  const std::string_view formatter = member::config_value(config, "ra_event_formatter");
  if (member::EventFormatter::is_formatter(formatter)) options.event_formatter = formatter;
  options.cluster_name = etf::without_version(config.cluster_name);
  const std::string_view metrics_key = member::config_value(config, "metrics_key");
  options.metrics_key =
      metrics_key.empty() ? etf::Writer().atom(config.id.name()).take() : std::string(metrics_key);
  return options;
}

void ServerSystem::start_member(raftlog::MemberLog& log, Started done) {
  const std::string name = log.config().id.name();
  if (member::Member* running = find(name)) return done(running);
  const auto joined = starting_.find(name);
  if (joined != starting_.end()) return joined->second.waiting.push_back(std::move(done));
  Result<std::unique_ptr<member::MemberStart>> start = begin_start(log);
  if (!start) return done(start.error());
  last_pids_[name] = (*start)->pid();
  Starting& starting = starting_[name];
  starting.start = std::move(*start);
  starting.waiting.push_back(std::move(done));
}

Result<std::unique_ptr<member::MemberStart>> ServerSystem::begin_start(raftlog::MemberLog& log) {
  const raftlog::ServerConfig& config = log.config();
  if (config.id.node() != node_.name()) {
    return make_error(ErrorCode::unsupported,
                      "it belongs to node " + config.id.node() + ", this is " + node_.name());
  }
  Result<std::unique_ptr<member::StateMachine>> machine =
      machines_.make(etf::without_version(config.machine));
  if (!machine) return machine.error();
  Result<member::MemberOptions> options = member_options(config);
  if (!options) return options.error();
  std::shared_ptr<member::Counters>& counters = counters_[config.id.name()];
  if (!counters) counters = std::make_shared<member::Counters>();
  auto start = std::make_unique<member::MemberStart>(
      services_, log, std::move(*machine), counters, std::move(*options),
      [this, name = config.id.name()](Result<std::unique_ptr<member::Member>> made) {
        end_start(name, std::move(made));
      });
  if (const Result<void> begun = start->begin(); !begun) return begun.error();
  return start;
}

void ServerSystem::end_start(const std::string& name,
                             Result<std::unique_ptr<member::Member>> made) {
  const auto found = starting_.find(name);
  RAKV_CHECK(found != starting_.end());
  member::MemberStart& start = *ended_starts_.emplace_back(std::move(found->second.start));
  let_go_of_ended_later();
  const std::vector<Started> waiting = std::move(found->second.waiting);
  starting_.erase(found);
  if (!made) {
    for (const Started& done : waiting) done(made.error());
    return;
  }
  member::Member* started = made->get();
  members_[name] = std::move(*made);
  started->go_live();
  if (!writable() || log_system_.keeps_records_of(started->log().uid())) started->log_down();
  for (const std::string& message : start.take_held())
    static_cast<node::Process*>(started)->on_message(message);
  for (const Started& done : waiting) done(started);
}

void ServerSystem::register_and_start(raftlog::ServerConfig config, Started done) {
  log_system_.register_server(std::move(config), [this, done = std::move(done), alive = alive_](
                                                     Result<raftlog::MemberLog*> registered) {
    if (!*alive) return;
    if (!registered) return done(registered.error());
    start_member(**registered, done);
  });
}

void ServerSystem::stop_member(const std::string& name, std::string_view reason) {
  start_pauses_.erase(name);
  if (const auto starting = starting_.find(name); starting != starting_.end()) {
    member::MemberStart& start = *ended_starts_.emplace_back(std::move(starting->second.start));
    const std::vector<Started> waiting = std::move(starting->second.waiting);
    starting_.erase(starting);
    spdlog::info("{}: stopping during the start, reason {}", start.log_id(), reason);
    start.cancel(reason);
    let_go_of_ended_later();
    for (const Started& done : waiting)
      done(make_error(ErrorCode::unavailable, "the server was stopped during its start"));
    return;
  }
  const auto found = members_.find(name);
  if (found == members_.end()) return;
  spdlog::info("{}: stopping, reason {}", found->second->log_id(), reason);
  leaderboard_.erase(found->second->options().cluster_name);
  found->second->stop(reason);
  ended_.push_back(std::move(found->second));
  members_.erase(found);
  let_go_of_ended_later();
}

/// What ended may be the caller: it goes when the event loop turns. A machine with millions of keys
/// goes in the background. The handler owns nothing: the loop may end before it runs, and what it
/// owned would go after the node.
void ServerSystem::let_go_of_ended_later() {
  boost::asio::post(io_, [this, alive = alive_] {
    if (!*alive) return;
    ended_starts_.clear();
    const auto ended = std::move(ended_);
    ended_.clear();
    Executor* const background = log_system_.options().background;
    if (background == nullptr) return;
    for (const auto& member : ended) {
      background->post(
          [machine = std::shared_ptr<member::StateMachine>(member->take_machine())] {});
    }
  });
}

void ServerSystem::restart_member(const std::string& name, const std::string& reason) {
  raftlog::MemberLog* log = log_system_.find_by_name(name);
  stop_member(name, reason);
  if (log == nullptr) return;
  boost::asio::post(io_, [this, name, uid = log->uid(), alive = alive_] {
    if (*alive) start_again(name, uid, "");
  });
}

/// What it lacked may be there a moment later: a file descriptor, memory, a disk that answers.
void ServerSystem::start_again(const std::string& name, const std::string& uid,
                               const std::string& last_error) {
  raftlog::MemberLog* log = log_system_.find(uid);
  if (log == nullptr || members_.contains(name) || names_in_change_.contains(name)) return;
  start_member(*log, [this, name, uid, last_error](const Result<member::Member*>& started) {
    if (started) return;
    const std::string error = started.error().message;
    if (error != last_error) spdlog::error("server {} can't be started again: {}", name, error);
    if (started.error().code != ErrorCode::io) return;
    Timer& pause = start_pauses_.try_emplace(name, io_).first->second;
    pause.expires_after(kStartPause);
    pause.async_wait([this, name, uid, error, alive = alive_](boost::system::error_code cancelled) {
      if (!cancelled && *alive) start_again(name, uid, error);
    });
  });
}

void ServerSystem::member_ended(const std::string& name, raft::effect::StopReason reason) {
  if (reason == raft::effect::StopReason::deleted) {
    delete_server(name, [] {});
  } else {
    stop_member(name, "normal");
  }
}

void ServerSystem::delete_server(const std::string& name, std::function<void()> done) {
  stop_member(name, "delete");
  counters_.erase(name);
  last_pids_.erase(name);
  unasked_.erase(name);
  const std::optional<std::string> registered = log_system_.uid_of(name);
  if (!registered) return done();
  // The stopped member holds a reference to its log until the event loop has turned.
  boost::asio::post(
      io_, [this, uid = *registered, name, done = std::move(done), alive = alive_]() mutable {
        if (!*alive) return;
        // One that had crashed, or that somebody restarts, has begun meanwhile.
        if (pid_of(name)) return delete_server(name, std::move(done));
        log_system_.delete_server(uid, [name, done = std::move(done)](const Result<void>& deleted) {
          if (!deleted)
            spdlog::error("server {} can't be deleted: {}", name, deleted.error().message);
          done();
        });
      });
}

/// Keeps the files of a stopped server, outside the system, so that its name is free.
void ServerSystem::set_server_aside(const std::string& name,
                                    std::function<void(Result<void>)> done) {
  counters_.erase(name);
  last_pids_.erase(name);
  // The stopped member holds a reference to its log until the event loop has turned.
  boost::asio::post(io_, [this, name, done = std::move(done), alive = alive_]() mutable {
    if (!*alive) return;
    raftlog::MemberLog* log = log_system_.find_by_name(name);
    if (log == nullptr) return done({});
    log_system_.set_server_aside(
        log->uid(), [name, done = std::move(done)](const Result<std::string>& kept) {
          if (!kept) return done(kept.error());
          spdlog::warn(
              "a new server takes the name {} of a stopped one, whose data stay in {}: remove that "
              "directory when nobody needs them",
              name, *kept);
          done({});
        });
  });
}

void ServerSystem::leader_or_cluster_changed(const member::Member& member) {
  LeaderboardRow& row = leaderboard_[member.options().cluster_name];
  row.leader = member.core().leader();
  row.members.clear();
  for (const auto& [id, config] : member.core().cluster()) row.members.push_back(id);
}

void ServerSystem::bootstrap(const std::string& cluster, std::function<void(Result<void>)> done) {
  if (log_system_.find_by_name(cluster) != nullptr) {
    boost::asio::post(io_, [done = std::move(done)] { done({}); });
    return;
  }
  raftlog::ServerConfig config;
  config.id = {cluster, node_.name()};
  config.uid = raftlog::new_uid(cluster, Randomness::of(io_));
  config.cluster_name = etf::Writer().version().atom(cluster).take();
  config.initial_members = {config.id};
  config.machine = etf::with_version(machines_.configuration());
  config.log_init_args = etf::Writer()
                             .version()
                             .map(3)
                             .atom("uid")
                             .binary(config.uid)
                             .atom("min_snapshot_interval")
                             .integer(0)
                             .atom("major_compaction_strategy")
                             .tuple(2)
                             .atom("num_minors")
                             .integer(2)
                             .take();
  register_and_start(std::move(config),
                     [done = std::move(done)](const Result<member::Member*>& started) {
                       if (!started) return done(started.error());
                       (*started)->trigger_election();
                       done({});
                     });
}

void ServerSystem::stop() {
  while (!starting_.empty()) stop_member(std::string(starting_.begin()->first), "shutdown");
  while (!members_.empty()) stop_member(std::string(members_.begin()->first), "shutdown");
  disk_timer_.cancel();
  metadata_timer_.cancel();
}

// --- the log system's health
// ----------------------------------------------------------------------------------------------

void ServerSystem::wal_down(const Error& error) {
  spdlog::error("the WAL can't be written, commands are refused until it can: {}", error.message);
  const bool before = writable();
  wal_is_down_ = true;
  tell_writable(before);
  log_system_.check_space();  // before the next retry_wal() could take what is left for votes
}

void ServerSystem::wal_up() {
  spdlog::info("the WAL can be written again");
  const bool before = writable();
  wal_is_down_ = false;
  tell_writable(before);
}

void ServerSystem::space_low(const raftlog::DiskSpace& space) {
  spdlog::error(
      "the disk of {} is nearly full, {} bytes and {} files (inodes) are free: commands are "
      "refused until {} and {} are; remove files, or make the disk larger",
      log_system_.directory(), space.free,
      space.free_files == UINT64_MAX ? "any number of" : std::to_string(space.free_files),
      2 * raftlog::SpaceWatch::low_water(space), 2 * raftlog::SpaceWatch::kLowWaterFiles);
  const bool before = writable();
  space_is_low_ = true;
  tell_writable(before);
}

void ServerSystem::space_enough() {
  spdlog::info("the disk has room again");
  const bool before = writable();
  space_is_low_ = false;
  tell_writable(before);
}

void ServerSystem::tell_writable(bool before) {
  if (writable() == before) return;
  for (const auto& [name, member] : members_) {
    if (log_system_.keeps_records_of(member->log().uid())) continue;  // down by itself
    before ? member->log_down() : member->log_up();
  }
}

void ServerSystem::segments_down(raftlog::MemberLog& log, const Error& error) {
  const std::string name = log.config().id.name();
  spdlog::error(
      "server {}: its directory takes no segments, its commands are refused until it does, and "
      "what the WAL has of it is kept in {}: {}",
      name, log_system_.directory(), error.message);
  member::Member* member = find(name);
  if (member != nullptr && writable()) member->log_down();
}

void ServerSystem::segments_up(raftlog::MemberLog& log) {
  const std::string name = log.config().id.name();
  spdlog::info("server {}: its directory takes segments again", name);
  member::Member* member = find(name);
  if (member != nullptr && writable()) member->log_up();
}

/// A disk that hangs gives no error. While more waits for it than may, nothing further is taken, so
/// what waits does not grow.
void ServerSystem::look_at_progress() {
  const std::uint64_t queued = log_system_.queued_bytes();
  const bool fell = queued < std::exchange(queued_before_, queued);
  const bool stands = queued > log_system_.memory_budget().waiting_bytes() && !fell;
  checks_without_progress_ = stands ? checks_without_progress_ + 1 : 0;
  const bool stands_still = checks_without_progress_ >= kChecksWithoutProgress;
  if (stands_still == wal_stands_still_) return;
  if (stands_still) {
    spdlog::error(
        "{} bytes wait for the WAL, and none has become durable for {} s: commands are "
        "refused, and others asked to lead, until the disk goes on",
        queued, kChecksWithoutProgress);
  } else {
    spdlog::info("the WAL goes on");
  }
  const bool before = writable();
  wal_stands_still_ = stands_still;
  tell_writable(before);
}

void ServerSystem::background_job_failed(const Error& error) { spdlog::error("{}", error.message); }

void ServerSystem::check_disk_later() {
  disk_timer_.expires_after(kDiskCheckInterval);
  disk_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive) return;
    log_system_.check_space();
    log_system_.drop_superseded();
    // A new file would only take what is left for votes.
    if (wal_is_down_ && !space_is_low_) log_system_.retry_wal();
    look_at_progress();
    check_disk_later();
  });
}

void ServerSystem::flush_metadata_regularly() {
  metadata_timer_.expires_after(kMetadataInterval);
  metadata_timer_.async_wait([this, alive = alive_](boost::system::error_code error) {
    if (error || !*alive) return;
    log_system_.flush_metadata([](const Result<void>& flushed) {
      if (!flushed) spdlog::error("last_applied can't be stored: {}", flushed.error().message);
    });
    flush_metadata_regularly();
  });
}

}  // namespace rakv::system
