#include "tests/bench/value_client.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "cnode/dist/handshake.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"
#include "tests/bench/support.h"

namespace rakv::bench {
namespace {

constexpr std::uint32_t kFirstPid = 100;
/// Nothing that is measured takes as long.
constexpr std::chrono::seconds kPatience{60};
constexpr std::uint64_t kReadTimeoutMs = 5000;

std::string name_of_key(std::size_t number) { return "key_" + std::to_string(number); }

}  // namespace

ValueClient::ValueClient(std::string cookie)
    : name_("memory_driver_" + std::to_string(::getpid()) + "@" + host_name()),
      creation_(dist::random_creation()) {
  dist::EndpointOptions options;
  options.node_name = name_;
  options.cookie = std::move(cookie);
  options.listen_address = "127.0.0.1";
  dist::Endpoint::Events events;
  events.on_up = [this](const std::shared_ptr<dist::Connection>& up) {
    dist::Connection::Handlers handlers;
    handlers.on_message = [this](const dist::ControlMessage& control, std::string_view payload) {
      on_message(control, payload);
    };
    handlers.on_closed = [peer = up->peer().name](const Error& reason) {
      give_up("the connection to " + peer + " is gone: " + reason.message);
    };
    up->start(std::move(handlers));
  };
  endpoint_ = std::make_unique<dist::Endpoint>(io_, std::move(options), std::move(events));
  endpoint_->set_creation(creation_);
  set_workload({});
}

void ValueClient::set_workload(Workload workload) {
  workload_ = std::move(workload);
  value_.assign(workload_.value_bytes, '\0');
  // A member does not look at the hash: that of the first value will do for all.
  put_meta_ = etf::Writer()
                  .map(2)
                  .atom("size")
                  .u64(etf::external_size_binary(value_.size()))
                  .atom("hash")
                  .u64(etf::phash2_binary(value_))
                  .take();
}

std::string_view ValueClient::value_of(std::size_t key) {
  if (workload_.round) {
    const std::uint64_t head[] = {key, workload_.round(key)};
    std::memcpy(value_.data(), head, sizeof head);
  }
  return value_;
}

void ValueClient::connect(const std::string& node) {
  bool done = false;
  endpoint_->dial(node, [&](const Result<void>& connected) {
    if (!connected) give_up(node + ": " + connected.error().message);
    done = true;
  });
  turn_until([&] { return done; });
}

void ValueClient::turn_until(const std::function<bool()>& done) {
  auto ended = ended_;
  Clock::time_point progress = Clock::now();
  while (!done()) {
    if (io_.run_one_for(kPatience) == 0) break;
    if (ended == ended_ && Clock::now() - progress > kPatience) break;
    if (ended != ended_) {
      ended = ended_;
      progress = Clock::now();
    }
  }
  if (!done()) give_up("no progress for " + std::to_string(kPatience.count()) + " s");
}

void ValueClient::run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  run(Kind::put, leader, callers, count);
}

void ValueClient::run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  run(Kind::get, leader, callers, count);
}

void ValueClient::run(Kind kind, const raft::ServerId& leader, std::size_t callers,
                      std::size_t count) {
  kind_ = kind;
  start_run(leader, callers, count);
  for (std::size_t caller = 0; caller < callers && begun_ < wanted_; ++caller) begin(caller);
  end_run();
}

void ValueClient::start_run(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  leader_ = leader;
  connection_ = endpoint_->connection(leader.node());
  if (!connection_) give_up("not connected to " + leader.node());
  callers_.resize(std::max(callers_.size(), callers));
  times_us_.clear();
  times_us_.reserve(count);
  begun_ = ended_ = 0;
  wanted_ = count;
}

void ValueClient::end_run() {
  turn_until([&] { return ended_ == wanted_; });
  for (Caller& caller : callers_) caller.awaits = Awaits::nothing;
  wanted_ = 0;
}

void ValueClient::begin(std::size_t caller) {
  const std::size_t key = workload_.key(begun_++);
  const std::string name = name_of_key(key);
  callers_[caller].began = Clock::now();
  callers_[caller].key = key;
  etf::Writer request;
  if (kind_ == Kind::ping) {
    callers_[caller].awaits = Awaits::anything;
    return call(caller, request.atom("ping").view());
  }
  request.tuple(2).atom("leader_call");
  if (kind_ == Kind::put) {
    callers_[caller].awaits = Awaits::put;
    request.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
    request.tuple(4).atom("put").binary(name).binary(value_of(key)).raw(put_meta_);
    request.atom("await_consensus");
  } else {
    callers_[caller].awaits = Awaits::place;
    request.tuple(2).atom("consistent_aux").tuple(2).atom("get").binary(name);
  }
  call(caller, request.view());
}

void ValueClient::finish(std::size_t caller) {
  const std::chrono::duration<double, std::micro> took = Clock::now() - callers_[caller].began;
  callers_[caller].awaits = Awaits::nothing;
  times_us_.push_back(took.count());
  ++ended_;
  if (pinged_enough_ && pinged_enough_()) wanted_ = ended_;
  if (begun_ < wanted_) begin(caller);
}

void ValueClient::run_pings(const raft::ServerId& server, const std::function<bool()>& done) {
  pinged_enough_ = done;
  kind_ = Kind::ping;
  start_run(server, 1, 0);
  wanted_ = SIZE_MAX;
  begin(0);
  end_run();
  pinged_enough_ = nullptr;
}

void ValueClient::call_once(const raft::ServerId& server, std::string_view request) {
  start_run(server, 1, 1);
  begun_ = 1;
  callers_[0].awaits = Awaits::anything;
  call(0, request);
  end_run();
}

void ValueClient::take_snapshot(const raft::ServerId& server) {
  call_once(server, etf::Writer().tuple(2).atom("aux_command").atom("take_snapshot").view());
}

void ValueClient::trigger_compaction(const raft::ServerId& server) {
  const etf::Pid self = pid(0);
  connection_ = endpoint_->connection(server.node());
  dist::OutMessage message = dist::encode_send_to_name(self, server.name());
  etf::Writer(message.text)
      .tuple(2)
      .atom("$gen_cast")
      .tuple(2)
      .atom("ra_log_event")
      .atom("major_compaction");
  send(0, std::move(message));
}

void ValueClient::call(std::size_t caller, std::string_view request) {
  ++callers_[caller].call;
  const etf::Pid self = pid(caller);
  const etf::Reference tag = reference(caller);
  send(caller, dist::encode_monitor(self, std::string_view(leader_.name()), tag));
  dist::OutMessage message = dist::encode_send_to_name(self, leader_.name());
  etf::Writer writer(message.text);
  writer.tuple(3).atom("$gen_call").tuple(2).pid(self).list(1).atom("alias").reference(tag);
  writer.raw(request);
  send(caller, std::move(message));
}

/// erpc:call(Node, ra_kv, read_entry, [Leader, Index, Members, Timeout]).
void ValueClient::read_value(std::size_t caller, std::uint64_t index, std::string_view members) {
  callers_[caller].awaits = Awaits::value;
  ++callers_[caller].call;
  const etf::Pid self = pid(caller);
  const etf::Reference request = reference(caller);
  dist::OutMessage message =
      dist::encode_spawn_request(request, self, self, "erpc", "execute_call", 4, true);
  etf::Writer writer(message.text);
  writer.list(4).reference(request).atom("ra_kv").atom("read_entry").list(4);
  wire::write_server_id(writer, leader_);
  writer.u64(index).raw(members).u64(kReadTimeoutMs).nil().nil();
  send(caller, std::move(message));
}

void ValueClient::run_pipelined(const raft::ServerId& leader, std::size_t window,
                                std::size_t count) {
  start_run(leader, 1, count);
  while (begun_ < std::min(window, wanted_)) pipeline_one();
  end_run();
}

/// ra:pipeline_command(Leader, {put, ...}, Correlation, normal).
void ValueClient::pipeline_one() {
  const std::size_t number = begun_++;
  const etf::Pid self = pid(0);
  dist::OutMessage message = dist::encode_send_to_name(self, leader_.name());
  etf::Writer writer(message.text);
  writer.tuple(2).atom("$gen_cast").tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
  const std::size_t key = workload_.key(number);
  writer.tuple(4).atom("put").binary(name_of_key(key)).binary(value_of(key)).raw(put_meta_);
  writer.tuple(3).atom("notify").u64(number).pid(self);
  send(0, std::move(message));
}

void ValueClient::send(std::size_t caller, dist::OutMessage message) {
  if (connection_->send(pid(caller).id, std::move(message)) == dist::Outbox::Admission::overflow)
    give_up("the connection to " + leader_.node() + " can't take more");
}

void ValueClient::on_message(const dist::ControlMessage& control, std::string_view payload) {
  if (const auto* message = std::get_if<dist::MessageSignal>(&control)) {
    if (std::holds_alternative<std::string_view>(message->to)) return;  // beats and the like
    etf::Cursor cursor(payload);
    if (tagged(cursor, "ra_event", 3)) {
      on_ra_event(payload);
    } else {
      on_reply(payload);
    }
  } else if (const auto* down = std::get_if<dist::MonitorExitSignal>(&control)) {
    on_value(*down);
  }
}

/// {[alias|Ref], Reply} of a call.
void ValueClient::on_reply(std::string_view message) {
  etf::Cursor cursor(message);
  std::size_t number = 0;
  if (!cursor.tuple(2) || cursor.list() != 1u || !cursor.is_atom("alias")) return;
  const std::optional<etf::ReferenceView> tag = cursor.reference_view();
  Caller* caller = tag ? caller_of(*tag, number) : nullptr;
  if (caller == nullptr) return;
  send(number,
       dist::encode_demonitor(pid(number), std::string_view(leader_.name()), reference(number)));
  const std::string_view reply = cursor.rest();
  if (caller->awaits == Awaits::anything) return finish(number);
  if (!tagged(cursor, "wrap_reply", 2)) give_up("unexpected answer", reply);
  if (caller->awaits == Awaits::put && tagged(cursor, "ok", 2)) return finish(number);
  if (caller->awaits == Awaits::place && tagged(cursor, "ok", 3)) {
    const std::optional<std::uint64_t> index = cursor.u64();
    const std::optional<std::string_view> members = index ? cursor.skip() : std::nullopt;
    if (members) return read_value(number, *index, *members);
  }
  give_up("unexpected answer", reply);
}

/// The end of an erpc: {Ref, return, {ok, Meta, Value}}. Of a call: the member is gone.
void ValueClient::on_value(const dist::MonitorExitSignal& signal) {
  std::size_t number = 0;
  Caller* caller = caller_of(signal.reference, number);
  if (caller == nullptr) return;
  etf::Cursor cursor(signal.reason);
  if (caller->awaits == Awaits::value && cursor.tuple(3) && cursor.reference_view() &&
      cursor.is_atom("return") && tagged(cursor, "ok", 3) && cursor.skip() &&
      cursor.binary() == value_of(caller->key)) {
    return finish(number);
  }
  give_up("unexpected end", signal.reason);
}

/// {ra_event, Leader, {applied, [{Correlation, Reply}]}}.
void ValueClient::on_ra_event(std::string_view message) {
  etf::Cursor cursor(message);
  if (!tagged(cursor, "ra_event", 3) || !cursor.skip()) give_up("unexpected event", message);
  if (!tagged(cursor, "applied", 2)) give_up("unexpected event", message);
  const std::optional<std::uint32_t> count = cursor.list();
  if (!count) give_up("unexpected event", message);
  for (std::uint32_t each = 0; each < *count; ++each) {
    const std::optional<std::uint64_t> correlation = cursor.tuple(2) ? cursor.u64() : std::nullopt;
    if (!correlation || !tagged(cursor, "ok", 2) || !cursor.skip())
      give_up("unexpected event", message);
    ++ended_;
    if (begun_ < wanted_) pipeline_one();
  }
}

etf::Pid ValueClient::pid(std::size_t caller) const {
  return etf::Pid(name_, kFirstPid + static_cast<std::uint32_t>(caller), 0, creation_);
}

etf::Reference ValueClient::reference(std::size_t caller) const {
  etf::ReferenceWords words;
  words.count = 3;
  words.word = {static_cast<std::uint32_t>(caller), callers_[caller].call, 0, 0, 0};
  return etf::Reference(name_, creation_, words);
}

ValueClient::Caller* ValueClient::caller_of(const etf::ReferenceView& reference,
                                            std::size_t& number) {
  number = reference.words.word[0];
  if (number >= callers_.size() || reference.words.word[1] != callers_[number].call) return nullptr;
  Caller& caller = callers_[number];
  return caller.awaits == Awaits::nothing ? nullptr : &caller;
}

}  // namespace rakv::bench
