#include "tests/bench/bare_client.h"

#include <unistd.h>

#include <utility>

#include "cnode/dist/handshake.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/writer.h"
#include "raft/wire/ids.h"
#include "tests/bench/support.h"

namespace rakv::bench {
namespace {

constexpr std::size_t kValueBytes = 256;
constexpr std::size_t kKeys = 2000;
constexpr std::uint32_t kFirstPid = 100;
/// Nothing that is measured takes as long.
constexpr std::chrono::seconds kPatience{20};
constexpr std::uint64_t kReadTimeoutMs = 5000;

const std::string& value() {
  static const std::string bytes(kValueBytes, '\0');
  return bytes;
}

}  // namespace

BareClient::BareClient(std::string cookie)
    : name_("kv_driver_" + std::to_string(::getpid()) + "@" + host_name()),
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
  put_meta_ = etf::Writer()
                  .map(2)
                  .atom("size")
                  .u64(etf::external_size_binary(kValueBytes))
                  .atom("hash")
                  .u64(etf::phash2_binary(value()))
                  .take();
}

void BareClient::connect(const std::string& node) {
  bool done = false;
  endpoint_->dial(node, [&](const Result<void>& connected) {
    if (!connected) give_up(node + ": " + connected.error().message);
    done = true;
  });
  turn_until([&] { return done; });
}

void BareClient::turn_until(const std::function<bool()>& done) {
  watch_progress();
  while (!done()) io_.run_one();
}

/// Ends the program when nothing has ended for as long as nothing takes.
void BareClient::watch_progress() {
  progress_timer_.expires_after(kPatience);
  progress_timer_.async_wait([this, ended = ended_](boost::system::error_code error) {
    if (error) return;
    if (ended == ended_) give_up("no progress for " + std::to_string(kPatience.count()) + " s");
    watch_progress();
  });
}

bool BareClient::run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  return run(Kind::put, leader, callers, count);
}

bool BareClient::run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  return run(Kind::get, leader, callers, count);
}

bool BareClient::run(Kind kind, const raft::ServerId& leader, std::size_t callers,
                     std::size_t count) {
  kind_ = kind;
  start_run(leader, callers, count);
  for (std::size_t caller = 0; caller < callers && begun_ < wanted_; ++caller) begin(caller);
  return end_run();
}

void BareClient::start_run(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  leader_ = leader;
  other_leader_.reset();
  connection_ = endpoint_->connection(leader.node());
  if (!connection_) give_up("not connected to " + leader.node());
  callers_.resize(std::max(callers_.size(), callers));
  for (std::size_t caller = 0; caller < callers; ++caller) prepare(caller);
  times_us_.clear();
  times_us_.reserve(count);
  begun_ = ended_ = 0;
  wanted_ = count;
}

/// True when all that was begun has been answered as a leader does. What is still to come after
/// another end is of a call that is not under way any more.
bool BareClient::end_run() {
  turn_until([&] { return ended_ == wanted_ || other_leader_; });
  for (Caller& caller : callers_) caller.awaits = Awaits::nothing;
  wanted_ = 0;
  return !other_leader_;
}

void BareClient::lead(const raft::ServerId& member) {
  const Clock::time_point deadline = Clock::now() + kPatience;
  while (!run_puts(member, 1, 1)) {
    if (Clock::now() > deadline) give_up(to_string(member) + " does not become the leader");
    if (*other_leader_ != member) ask_to_lead(member);
  }
}

/// ra:transfer_leadership(OtherLeader, Member), whatever it answers.
void BareClient::ask_to_lead(const raft::ServerId& member) {
  const raft::ServerId other = *other_leader_;
  connect(other.node());
  start_run(other, 1, 1);
  begun_ = 1;
  callers_[0].awaits = Awaits::transfer;
  etf::Writer request;
  request.tuple(2).atom("transfer_leadership");
  wire::write_server_id(request, member);
  const Numbers numbers{++callers_[0].call};
  call(0, encode_call(0, numbers, request.view()));
  static_cast<void>(end_run());
}

void BareClient::begin(std::size_t caller) {
  Caller& self = callers_[caller];
  const Numbers numbers{++self.call, static_cast<std::uint32_t>(begun_++ % kKeys), 0};
  self.began = Clock::now();
  self.awaits = kind_ == Kind::put ? Awaits::put : Awaits::place;
  call(caller, (kind_ == Kind::put ? self.put : self.get).with(numbers));
}

/// Encodes what this process is going to send to the leader.
void BareClient::prepare(std::size_t caller) {
  Caller& self = callers_[caller];
  const std::string_view to = leader_.name();
  const etf::Pid from = pid(caller);
  self.monitor = RepeatedMessage::of([&](const Numbers& numbers) {
    return dist::encode_monitor(from, to, reference(caller, numbers.call));
  });
  self.demonitor = RepeatedMessage::of([&](const Numbers& numbers) {
    return dist::encode_demonitor(from, to, reference(caller, numbers.call));
  });
  self.put = RepeatedMessage::of([&](const Numbers& numbers) {
    etf::Writer request;
    request.tuple(2).atom("leader_call");
    request.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
    request.tuple(4).atom("put").binary(key_of(numbers.key)).binary(value()).raw(put_meta_);
    request.atom("await_consensus");
    return encode_call(caller, numbers, request.view());
  });
  self.get = RepeatedMessage::of([&](const Numbers& numbers) {
    etf::Writer request;
    request.tuple(2).atom("leader_call");
    request.tuple(2).atom("consistent_aux").tuple(2).atom("get").binary(key_of(numbers.key));
    return encode_call(caller, numbers, request.view());
  });
  self.members.clear();
}

void BareClient::finish(std::size_t caller) {
  const std::chrono::duration<double, std::micro> took = Clock::now() - callers_[caller].began;
  callers_[caller].awaits = Awaits::nothing;
  times_us_.push_back(took.count());
  ++ended_;
  if (begun_ < wanted_) begin(caller);
}

dist::OutMessage BareClient::encode_call(std::size_t caller, const Numbers& numbers,
                                         std::string_view request) const {
  const etf::Pid self = pid(caller);
  dist::OutMessage message = dist::encode_send_to_name(self, leader_.name());
  etf::Writer writer(message.text);
  writer.tuple(3).atom("$gen_call").tuple(2).pid(self);
  writer.list(1).atom("alias").reference(reference(caller, numbers.call)).raw(request);
  return message;
}

void BareClient::call(std::size_t caller, dist::OutMessage message) {
  send(caller, callers_[caller].monitor.with({callers_[caller].call}));
  send(caller, std::move(message));
}

/// erpc:call(Node, ra_kv, read_entry, [Leader, Index, Members, Timeout]).
dist::OutMessage BareClient::encode_read_value(std::size_t caller, const Numbers& numbers,
                                               std::string_view members) const {
  const etf::Pid self = pid(caller);
  const etf::Reference request = reference(caller, numbers.call);
  dist::OutMessage message =
      dist::encode_spawn_request(request, self, self, "erpc", "execute_call", 4, true);
  etf::Writer writer(message.text);
  writer.list(4).reference(request).atom("ra_kv").atom("read_entry").list(4);
  wire::write_server_id(writer, leader_);
  writer.u64(numbers.index).raw(members).u64(kReadTimeoutMs).nil().nil();
  return message;
}

void BareClient::read_value(std::size_t caller, std::uint32_t index, std::string_view members) {
  Caller& self = callers_[caller];
  if (self.members != members) {
    self.members = members;
    self.read_value = RepeatedMessage::of(
        [&](const Numbers& numbers) { return encode_read_value(caller, numbers, members); });
  }
  self.awaits = Awaits::value;
  send(caller, self.read_value.with({++self.call, 0, index}));
}

bool BareClient::run_pipelined(const raft::ServerId& leader, std::size_t window,
                               std::size_t count) {
  start_run(leader, 1, count);
  first_correlation_ = next_correlation_;
  next_correlation_ += count;
  while (begun_ < std::min(window, wanted_)) pipeline_one();
  return end_run();
}

/// ra:pipeline_command(Leader, {put, ...}, Correlation, normal).
void BareClient::pipeline_one() {
  const std::size_t number = begun_++;
  const etf::Pid self = pid(0);
  dist::OutMessage message = dist::encode_send_to_name(self, leader_.name());
  etf::Writer writer(message.text);
  writer.tuple(2).atom("$gen_cast").tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
  writer.tuple(4).atom("put").binary(key_of(static_cast<std::uint32_t>(number % kKeys)));
  writer.binary(value()).raw(put_meta_);
  writer.tuple(3).atom("notify").u64(first_correlation_ + number).pid(self);
  send(0, std::move(message));
}

void BareClient::send(std::size_t caller, dist::OutMessage message) {
  if (connection_->send(kFirstPid + caller, std::move(message)) ==
      dist::Outbox::Admission::overflow)
    give_up("the connection to " + leader_.node() + " can't take more");
}

void BareClient::on_message(const dist::ControlMessage& control, std::string_view payload) {
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
void BareClient::on_reply(std::string_view message) {
  etf::Cursor cursor(message);
  std::size_t number = 0;
  if (!cursor.tuple(2) || cursor.list() != 1u || !cursor.is_atom("alias")) return;
  const std::optional<etf::ReferenceView> tag = cursor.reference_view();
  Caller* caller = tag ? caller_of(*tag, number) : nullptr;
  if (caller == nullptr) return;
  send(number, caller->demonitor.with({caller->call}));
  const std::string_view reply = cursor.rest();
  if (caller->awaits == Awaits::transfer) return finish(number);
  if (!tagged(cursor, "wrap_reply", 2)) return on_other_reply(reply);
  if (caller->awaits == Awaits::put && tagged(cursor, "ok", 2)) return finish(number);
  if (caller->awaits == Awaits::place && tagged(cursor, "ok", 3)) {
    const std::optional<std::uint32_t> index = cursor.u32();
    const std::optional<std::string_view> members = index ? cursor.skip() : std::nullopt;
    if (members) return read_value(number, *index, *members);
  }
  give_up("unexpected answer", reply);
}

/// {redirect, Leader}: this run is over.
void BareClient::on_other_reply(std::string_view reply) {
  etf::Cursor cursor(reply);
  if (tagged(cursor, "redirect", 2)) other_leader_ = wire::read_server_id(cursor);
  if (!other_leader_) give_up("no answer of a leader", reply);
}

/// The end of an erpc: {Ref, return, {ok, Meta, Value}}. Of a call: the member is gone.
void BareClient::on_value(const dist::MonitorExitSignal& signal) {
  std::size_t number = 0;
  Caller* caller = caller_of(signal.reference, number);
  if (caller == nullptr) return;
  etf::Cursor cursor(signal.reason);
  if (caller->awaits == Awaits::value && cursor.tuple(3) && cursor.reference_view() &&
      cursor.is_atom("return") && tagged(cursor, "ok", 3) && cursor.skip() &&
      cursor.binary() == value()) {
    return finish(number);
  }
  give_up("unexpected end", signal.reason);
}

/// {ra_event, Leader, {applied, [{Correlation, Reply}]}}, or {ra_event, Member, {rejected,
/// {not_leader, Leader, Correlation}}}.
void BareClient::on_ra_event(std::string_view message) {
  etf::Cursor cursor(message);
  if (!tagged(cursor, "ra_event", 3) || !cursor.skip()) give_up("unexpected event", message);
  if (tagged(cursor, "rejected", 2) && tagged(cursor, "not_leader", 3)) {
    other_leader_ = cursor.kind() == etf::TermKind::tuple ? wire::read_server_id(cursor) : leader_;
    return;
  }
  if (!tagged(cursor, "applied", 2)) give_up("unexpected event", message);
  const std::optional<std::uint32_t> count = cursor.list();
  if (!count) give_up("unexpected event", message);
  for (std::uint32_t each = 0; each < *count; ++each) {
    const std::optional<std::uint64_t> correlation = cursor.tuple(2) ? cursor.u64() : std::nullopt;
    if (!correlation || !tagged(cursor, "ok", 2) || !cursor.skip())
      give_up("unexpected event", message);
    if (*correlation < first_correlation_) continue;  // of a run that ended early
    ++ended_;
    if (begun_ < wanted_) pipeline_one();
  }
}

etf::Pid BareClient::pid(std::size_t caller) const {
  return etf::Pid(name_, kFirstPid + static_cast<std::uint32_t>(caller), 0, creation_);
}

etf::Reference BareClient::reference(std::size_t caller, std::uint32_t call) const {
  etf::ReferenceWords words;
  words.count = 3;
  words.word = {static_cast<std::uint32_t>(caller), call, 0, 0, 0};
  return etf::Reference(name_, creation_, words);
}

BareClient::Caller* BareClient::caller_of(const etf::ReferenceView& reference,
                                          std::size_t& number) {
  number = reference.words.word[0];
  if (number >= callers_.size() || reference.words.word[1] != callers_[number].call) return nullptr;
  Caller& caller = callers_[number];
  return caller.awaits == Awaits::nothing ? nullptr : &caller;
}

}  // namespace rakv::bench
