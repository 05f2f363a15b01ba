// SPDX-License-Identifier: Apache-2.0
#include "shell.h"

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include "cnode/base/check.h"
#include "cnode/etf/text.h"
#include "cnode/etf/version.h"
#include "cnode/node/gen.h"
#include "raft/log/snapshots/snapshot_file.h"
#include "raft/wire/entry.h"
#include "raft/wire/ids.h"

namespace rakv::member::testing {
namespace {

using boost::asio::ip::tcp;

constexpr char kNode[] = "a@127.0.0.1";
constexpr char kNodeDirectory[] = "/data/a@127.0.0.1";
constexpr std::chrono::seconds kDeadline{10};
constexpr std::chrono::hours kCallTimeout{1};

class WholeCapture final : public StateCapture {
 public:
  WholeCapture(SharedBytes state, std::vector<std::uint64_t> live)
      : state_(std::move(state)), live_(std::move(live)) {}
  bool copy_more() override { return false; }
  SharedBytes take_state() override { return state_; }
  std::vector<std::uint64_t> take_live_indexes() override { return live_; }

 private:
  SharedBytes state_;
  std::vector<std::uint64_t> live_;
};

}  // namespace

// --- the machine

void HistoryMachine::apply(const CommandMeta& meta, std::string_view data, etf::Writer* reply) {
  etf::Cursor cursor(data);
  applied_[meta.index] = std::string(cursor.binary().value_or("?"));
  if (reply != nullptr) reply->u64(meta.index);
}

AuxResult HistoryMachine::handle_aux(std::string_view command, const AuxContext&,
                                     etf::Writer& reply) {
  etf::Cursor cursor(command);
  reply.atom("ok");
  return {true, cursor.is_atom("snapshot")};
}

std::unique_ptr<StateCapture> HistoryMachine::capture() {
  etf::Writer state;
  state.version();
  write_state(state);
  return std::make_unique<WholeCapture>(SharedBytes::copy_of(state.view()), live_indexes());
}

void HistoryMachine::write_state(etf::Writer& writer) const {
  writer.map(applied_.size());
  for (const auto& [index, text] : applied_) writer.u64(index).binary(text);
}

Result<void> HistoryMachine::read_state(std::string_view state) {
  applied_.clear();
  ++states_read;
  etf::Cursor cursor(state);
  const std::uint32_t count = cursor.map().value_or(0);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t index = cursor.u64().value_or(0);
    applied_[index] = std::string(cursor.binary().value_or("?"));
  }
  if (!cursor.ok()) return make_error(ErrorCode::malformed, "not a history");
  return {};
}

std::vector<std::uint64_t> HistoryMachine::live_indexes() const {
  std::vector<std::uint64_t> live;
  for (const auto& [index, text] : applied_) {
    if (text.starts_with("live")) live.push_back(index);
  }
  return live;
}

std::string HistoryMachine::history() const {
  std::string text;
  for (const auto& [index, what] : applied_) {
    if (!text.empty()) text += " ";
    text += std::to_string(index) + ":" + what;
  }
  return text;
}

raft::Entry user(std::uint64_t index, std::uint64_t term, std::string_view text) {
  return wire::to_core_entry(raft::Index{index}, raft::Term{term},
                             wire::encode_user(0, {}, etf::Writer().binary(text).view(),
                                               etf::Writer().atom("noreply").view()));
}

std::string snapshot_head(std::uint64_t index, std::uint64_t term) {
  raftlog::StoredSnapshotMeta meta;
  meta.index = index;
  meta.term = term;
  meta.cluster = etf::Writer().version().map(0).take();
  return raftlog::encode_snapshot_meta(meta);
}

// --- the shell

class Shell::Factory final : public StateMachineFactory {
 public:
  Result<std::unique_ptr<StateMachine>> make(std::string_view) const override {
    return std::unique_ptr<StateMachine>(std::make_unique<HistoryMachine>());
  }
  std::string configuration() const override {
    return etf::Writer().tuple(3).atom("module").atom("history").map(0).take();
  }
};

/// A port mapper that takes every name.
class Shell::Epmd {
 public:
  explicit Epmd(boost::asio::io_context& io)
      : acceptor_(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)) {
    accept();
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (error) return;
      auto kept = std::make_shared<tcp::socket>(std::move(socket));
      sockets_.push_back(kept);
      kept->async_read_some(
          boost::asio::buffer(request_), [kept](boost::system::error_code failed, std::size_t) {
            static constexpr std::array<char, 6> kReply = {118, 0, 0, 0, 0, 4};  // ALIVE2_X_RESP
            boost::system::error_code ignored;
            if (!failed) boost::asio::write(*kept, boost::asio::buffer(kReply), ignored);
          });
      accept();
    });
  }

  tcp::acceptor acceptor_;
  std::array<char, 512> request_;
  std::vector<std::shared_ptr<tcp::socket>> sockets_;
};

Shell::Options::Options() {
  log.wal_thread = false;
  log.wal.salt_seed = 7;
  log.segment.max_entries = 16;
  log.reserve_bytes = 0;
}

Shell::Shell(Options options)
    : options_(std::move(options)),
      epmd_(std::make_unique<Epmd>(io_)),
      machines_(std::make_unique<Factory>()) {
  if (options_.clock != nullptr) Clock::set(io_, *options_.clock);
  open();
  add(config_of("kv", options_.members));
}

raftlog::ServerConfig Shell::config_of(const std::string& name,
                                       const std::vector<std::string>& members) {
  raftlog::ServerConfig config;
  config.id = {name, kNode};
  config.uid = name + "AAAAAAAAAA";
  config.cluster_name = etf::Writer().version().atom(name).take();
  for (const std::string& member : members) config.initial_members.emplace_back(member, kNode);
  config.machine = etf::Writer().version().tuple(3).atom("module").atom("history").map(0).take();
  config.log_init_args =
      etf::Writer().version().map(1).atom("min_snapshot_interval").integer(0).take();
  const auto number = [](std::uint64_t value) { return etf::Writer().version().u64(value).take(); };
  config.others = {{"tick_timeout", number(options_.tick_ms)},
                   {"broadcast_time", number(100'000'000)}};
  return config;
}

void Shell::add(const raftlog::ServerConfig& config) {
  bool registered = false;
  log_system_->register_server(
      config, [&](const Result<raftlog::MemberLog*>& got) { registered = got.has_value(); });
  run();
  RAKV_CHECK(registered);
  start();
}

void Shell::add_server(const std::string& name) {
  add(config_of(name, {name}));
  servers_->find(name)->trigger_election();
  run();
}

Shell::~Shell() {
  hold = {};
  run();
  close();
}

void Shell::open() {
  options_.log.background = &background_;
  faults_ = std::make_unique<raftlog::FaultyDisk>(*disk_);
  auto opened = raftlog::LogSystem::open(kNodeDirectory, *faults_, owner_, worker_, options_.log);
  RAKV_CHECK_MSG(opened, opened ? "" : opened.error().message);
  log_system_ = std::move(*opened);
  node::NodeOptions node;
  node.name = kNode;
  node.cookie = "shell";
  node.listen_address = "127.0.0.1";
  node.epmd.port = epmd_->port();
  node.epmd.start_daemon = false;
  node.memory = &memory_;
  node_ = std::make_unique<node::Node>(io_, node);
  bool started = false;
  node_->start([&](const Result<void>& done) { started = done.has_value(); });
  run_until([&] { return started; }, "the node starts");
  servers_ = std::make_unique<system::ServerSystem>(io_, *node_, *log_system_, *machines_);
}

void Shell::close() {
  servers_.reset();
  node_.reset();
  log_system_.reset();
  owner_.clear();
  worker_.clear();
  background_.clear();
  for (const ByteAccount* account : memory_.kinds())
    EXPECT_EQ(account->used(), 0U) << account->name();
}

void Shell::run_without_disk() {
  for (bool worked = true; worked;) {
    io_.restart();
    worked = io_.poll() > 0;
    worked = owner_.run_all() > 0 || worked;
  }
}

bool Shell::run_disk() {
  bool worked = false;
  if (!hold.worker) worked = worker_.run_one() || worked;
  if (!hold.background) worked = background_.run_one() || worked;
  if (!hold.wal && log_system_) worked = log_system_->wal_writer().run_one_batch() || worked;
  return worked;
}

void Shell::run() {
  do {
    run_without_disk();
  } while (run_disk());
}

bool Shell::run_worker_once() {
  const bool worked = worker_.run_one();
  run_without_disk();
  return worked;
}

void Shell::run_until(const std::function<bool()>& done, const std::string& what) {
  const auto deadline = std::chrono::steady_clock::now() + kDeadline;
  for (;;) {
    run();
    if (done()) return;
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "waited in vain: " << what;
      return;
    }
    io_.restart();
    io_.run_one_for(std::chrono::milliseconds(100));
  }
}

void Shell::start() {
  servers_->start_registered([] {});
  run();
}

void Shell::stop() {
  servers_->stop_server("kv");
  run();
}

void Shell::kill() {
  const etf::Pid pid = member()->pid();
  node_->send_exit(pid.view(), pid.view(), etf::Writer().atom("kill").view());
  run();
}

void Shell::crash(raftlog::CrashMode mode, std::uint64_t seed) {
  auto left = disk_->clone();
  left->crash(mode, seed);
  close();
  disk_ = std::move(left);
  hold = {};
  open();
  start();
}

Member* Shell::member() { return servers_->find("kv"); }
raftlog::MemberLog& Shell::log() { return *log_system_->find_by_name("kv"); }
raft::ServerId Shell::id(const std::string& name) const { return {name, kNode}; }

std::string Shell::history() {
  const Member* running = member();
  if (running == nullptr) return "not running";
  return static_cast<const HistoryMachine&>(running->machine()).history();
}

Shell::Answer Shell::call(const std::function<void(etf::Writer&)>& request,
                          const std::string& server) {
  auto answer = std::make_shared<std::optional<std::string>>();
  node_->call(
      kNode, server,
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        request(writer);
      },
      kCallTimeout,
      [answer](const node::CallResult& result) {
        const std::string text = etf::print_text(result.term);
        *answer = result.status == node::CallResult::Status::reply ? text : "down: " + text;
      });
  return answer;
}

Shell::Answer Shell::put(const std::string& server, std::string_view text) {
  return call(
      [&](etf::Writer& writer) {
        writer.tuple(2).atom("leader_call").tuple(3).atom("command").atom("normal");
        writer.tuple(3).atom("$usr").binary(text).atom("await_consensus");
      },
      server);
}

Shell::Answer Shell::rpc(std::string_view function,
                         const std::function<void(etf::Writer&)>& arguments, std::size_t count) {
  auto answer = std::make_shared<std::optional<std::string>>();
  etf::Writer list;
  list.list(count);
  arguments(list);
  list.nil();
  node_->apply(
      kNode, "ra_server_sup_sup", function, list.view(), kCallTimeout,
      [answer](const node::ApplyResult& result) { *answer = etf::print_text(result.term); });
  return answer;
}

std::string Shell::ask(const std::function<void(etf::Writer&)>& request) {
  const Answer answer = call(request);
  run();
  return answer->value_or("");
}

std::string Shell::local_query(std::optional<raft::IndexTerm> condition) {
  return ask([&](etf::Writer& writer) {
    writer.tuple(3).atom("local_query");
    writer.tuple(3).atom("ra_lib").atom("id").nil();
    writer.map(condition ? 1 : 0);
    if (!condition) return;
    writer.atom("condition").tuple(2).atom("applied");
    writer.tuple(2).u64(condition->index.value()).u64(condition->term.value());
  });
}

// --- peers

Peer::Peer(Shell& shell, const std::string& name) : shell_(shell), name_(name) {
  pid_ = shell.node().spawn(*this);
  RAKV_CHECK(shell.node().register_name(name, pid_));
}

namespace {

void share_by_copy(etf::Writer& writer, std::string_view part) { writer.append(part); }

}  // namespace

void Peer::leads(std::uint64_t term, std::vector<raft::Entry> entries, std::uint64_t prev,
                 std::uint64_t prev_term, std::uint64_t commit) {
  raft::AppendEntriesRpc rpc;
  rpc.term = raft::Term{term};
  rpc.leader = shell_.id(name_);
  rpc.prev_index = raft::Index{prev};
  rpc.prev_term = raft::Term{prev_term};
  rpc.leader_commit = raft::Index{commit};
  rpc.entries = std::move(entries);
  shell_.node().cast(pid_, kNode, "kv", [&](distribution::OutMessage& out) {
    etf::Writer writer(out.text);
    wire::write_append_entries_rpc(writer, rpc, [&](const SharedBytes&, std::string_view part) {
      share_by_copy(writer, part);
    });
  });
}

Peer::Vote Peer::asks_for_vote(std::uint64_t term, std::uint64_t last_index,
                               std::uint64_t last_term) {
  auto vote = std::make_shared<std::optional<raft::RequestVoteResult>>();
  shell_.node().call(
      kNode, "kv",
      [&](distribution::OutMessage& out) {
        etf::Writer writer(out.text);
        wire::write_request_vote_rpc(writer, {raft::Term{term}, shell_.id(name_),
                                              raft::Index{last_index}, raft::Term{last_term}});
      },
      kCallTimeout,
      [vote](const node::CallResult& result) {
        if (result.status != node::CallResult::Status::reply) return;
        const auto reply = wire::decode_peer_reply(result.term);
        if (!reply || !*reply) return;
        if (const auto* given = std::get_if<raft::RequestVoteResult>(&**reply)) *vote = *given;
      });
  return vote;
}

Shell::Answer Peer::sends_snapshot(std::uint64_t term, std::string_view meta, std::uint64_t number,
                                   raft::ChunkFlag flag, std::vector<raft::Entry> entries,
                                   std::string_view data) {
  return shell_.call([&](etf::Writer& writer) {
    wire::write_install_snapshot_head(
        writer, {raft::Term{term}, shell_.id(name_), etf::without_version(meta), number, flag});
    if (flag == raft::ChunkFlag::init) {
      writer.atom("undefined");
    } else if (flag == raft::ChunkFlag::pre) {
      writer.list(entries.size());
      for (const raft::Entry& entry : entries) {
        wire::write_entry(
            writer, entry.index, entry.term, entry.payload,
            [&](const SharedBytes&, std::string_view part) { share_by_copy(writer, part); });
      }
      writer.nil();
    } else {
      writer.binary(data);
    }
  });
}

std::uint64_t Peer::acknowledged() const {
  std::uint64_t highest = 0;
  for (const raft::AppendEntriesReply& reply : replies_) {
    if (reply.success) highest = std::max(highest, reply.last_index.value());
  }
  return highest;
}

void Peer::acknowledges(std::uint64_t term, std::uint64_t index) {
  shell_.node().cast(pid_, kNode, "kv", [&](distribution::OutMessage& out) {
    etf::Writer writer(out.text);
    wire::write_reply_sender(writer, shell_.id(name_));
    wire::write_append_entries_reply(writer, {raft::Term{term}, true, raft::Index{index + 1},
                                              raft::Index{index}, raft::Term{term}});
  });
}

void Peer::refuses(std::uint64_t term, std::uint64_t next, std::uint64_t last,
                   std::uint64_t last_term) {
  shell_.node().cast(pid_, kNode, "kv", [&](distribution::OutMessage& out) {
    etf::Writer writer(out.text);
    wire::write_reply_sender(writer, shell_.id(name_));
    wire::write_append_entries_reply(writer, {raft::Term{term}, false, raft::Index{next},
                                              raft::Index{last}, raft::Term{last_term}});
  });
}

void Peer::on_message(std::string_view message) {
  const auto gen = node::parse_gen_message(message);
  if (!gen) return;
  if (gen->kind == node::GenMessage::Kind::call) {
    calls_.push_back(etf::print_text(gen->request));
    const auto call = wire::decode_peer_call(gen->request);
    if (!grants_ || !call || !*call) return;
    shell_.node().reply(pid_, gen->from, [&](distribution::OutMessage& out) {
      etf::Writer writer(out.text);
      if (const auto* vote = std::get_if<raft::RequestVoteRpc>(&**call)) {
        wire::write_request_vote_result(writer, {vote->term, true});
      } else if (const auto* pre_vote = std::get_if<wire::PreVoteCall>(&**call)) {
        wire::write_pre_vote_result(writer, {pre_vote->rpc.term, true}, pre_vote->token);
      } else {
        writer.atom("ignored");
      }
    });
    return;
  }
  auto event = wire::decode_peer_cast(gen->request);
  if (!event || !*event) return;
  if (const auto* replied = std::get_if<raft::event::AppendEntriesReplied>(&**event))
    replies_.push_back(replied->reply);
  if (auto* append = std::get_if<raft::event::AppendEntries>(&**event))
    appends_.push_back(std::move(append->rpc));
}

}  // namespace rakv::member::testing
