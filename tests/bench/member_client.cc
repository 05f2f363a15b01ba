// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/member_client.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "cnode/distribution/handshake.h"
#include "cnode/etf/cursor.h"
#include "raft/wire/ids.h"
#include "tests/bench/support.h"

namespace rakv::bench {
namespace {

constexpr std::uint32_t kFirstPid = 100;
constexpr std::uint64_t kReadTimeoutMs = 5000;

}  // namespace

MemberClient::MemberClient(const std::string& name, std::string cookie,
                           std::chrono::seconds patience)
    : patience_(patience),
      name_(name + "_" + std::to_string(::getpid()) + "@" + host_name()),
      creation_(distribution::random_creation(Randomness::system())) {
  distribution::EndpointOptions options;
  options.node_name = name_;
  options.cookie = std::move(cookie);
  options.listen_address = "127.0.0.1";
  distribution::Endpoint::Events events;
  events.on_up = [this](const std::shared_ptr<distribution::Connection>& up) {
    distribution::Connection::Handlers handlers;
    handlers.on_message = [this](const distribution::ControlMessage& control,
                                 std::string_view payload) { on_message(control, payload); };
    handlers.on_closed = [peer = up->peer().name](const Error& reason) {
      give_up("the connection to " + peer + " is gone: " + reason.message);
    };
    up->start(std::move(handlers));
  };
  endpoint_ = std::make_unique<distribution::Endpoint>(io_, std::move(options), std::move(events));
  endpoint_->set_creation(creation_);
}

void MemberClient::connect(const std::string& node) {
  bool done = false;
  endpoint_->dial(node, [&](const Result<void>& connected) {
    if (!connected) give_up(node + ": " + connected.error().message);
    done = true;
  });
  turn_until([&] { return done; });
}

void MemberClient::turn_until(const std::function<bool()>& done) {
  watch_progress();
  while (!done()) io_.run_one();
}

/// Ends the program when nothing has ended for as long as nothing takes.
void MemberClient::watch_progress() {
  progress_timer_.expires_after(patience_);
  progress_timer_.async_wait([this, ended = ended_](boost::system::error_code error) {
    if (error) return;
    if (ended == ended_) give_up("no progress for " + std::to_string(patience_.count()) + " s");
    watch_progress();
  });
}

// ---- runs

void MemberClient::start_run(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  leader_ = leader;
  ended_early_ = false;
  connection_ = endpoint_->connection(leader.node());
  if (!connection_) give_up("not connected to " + leader.node());
  calls_.resize(std::max(calls_.size(), callers));
  times_us_.clear();
  times_us_.reserve(count);
  begun_ = ended_ = 0;
  wanted_ = count;
}

void MemberClient::end_run() {
  turn_until([&] { return ended_ == wanted_ || ended_early_; });
  for (Call& call : calls_) call.awaits = Awaits::nothing;
  wanted_ = 0;
}

void MemberClient::run_calls(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  start_run(leader, callers, count);
  for (std::size_t caller = 0; caller < callers && begun_ < wanted_; ++caller) begin(caller);
  end_run();
}

void MemberClient::finish(std::size_t caller) {
  const std::chrono::duration<double, std::micro> took = Clock::now() - calls_[caller].began;
  calls_[caller].awaits = Awaits::nothing;
  times_us_.push_back(took.count());
  ++ended_;
  if (begun_ < wanted_) begin(caller);
}

void MemberClient::run_pipelined_puts(const raft::ServerId& leader, std::size_t window,
                                      std::size_t count) {
  start_run(leader, 1, count);
  first_correlation_ = next_correlation_;
  next_correlation_ += count;
  while (begun_ < std::min(window, wanted_)) pipeline_one();
  end_run();
}

void MemberClient::pipeline_one() {
  const std::size_t operation = begun_++;
  send_cast(0, [&](etf::Writer& writer) {
    writer.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
    write_put(writer, operation);
    writer.tuple(3).atom("notify").u64(first_correlation_ + operation).pid(pid(0));
  });
}

// ---- messages

distribution::OutMessage MemberClient::encode_monitor(std::size_t caller,
                                                      std::uint32_t call) const {
  return distribution::encode_monitor(pid(caller), std::string_view(leader_.name()),
                                      reference(caller, call));
}

distribution::OutMessage MemberClient::encode_demonitor(std::size_t caller,
                                                        std::uint32_t call) const {
  return distribution::encode_demonitor(pid(caller), std::string_view(leader_.name()),
                                        reference(caller, call));
}

distribution::OutMessage MemberClient::encode_call(std::size_t caller, std::uint32_t call,
                                                   std::string_view request) const {
  const etf::Pid self = pid(caller);
  distribution::OutMessage message = distribution::encode_send_to_name(self, leader_.name());
  etf::Writer writer(message.text);
  writer.tuple(3).atom("$gen_call").tuple(2).pid(self);
  writer.list(1).atom("alias").reference(reference(caller, call)).raw(request);
  return message;
}

distribution::OutMessage MemberClient::encode_read_value(std::size_t caller, std::uint32_t call,
                                                         std::uint32_t index,
                                                         std::string_view members) const {
  const etf::Pid self = pid(caller);
  const etf::Reference request = reference(caller, call);
  distribution::OutMessage message =
      distribution::encode_spawn_request(request, self, self, "erpc", "execute_call", 4, true);
  etf::Writer writer(message.text);
  writer.list(4).reference(request).atom("ra_kv").atom("read_entry").list(4);
  wire::write_server_id(writer, leader_);
  writer.u64(index).raw(members).u64(kReadTimeoutMs).nil().nil();
  return message;
}

void MemberClient::send(std::size_t caller, distribution::OutMessage message) {
  if (connection_->send(kFirstPid + caller, std::move(message)) ==
      distribution::Outbox::Admission::overflow)
    give_up("the connection to " + leader_.node() + " can't take more");
}

void MemberClient::send_cast(std::size_t caller,
                             const std::function<void(etf::Writer&)>& write_request) {
  distribution::OutMessage message = distribution::encode_send_to_name(pid(caller), leader_.name());
  etf::Writer writer(message.text);
  writer.tuple(2).atom("$gen_cast");
  write_request(writer);
  send(caller, std::move(message));
}

void MemberClient::demonitor(std::size_t caller) {
  send(caller, encode_demonitor(caller, calls_[caller].number));
}

// ---- answers

void MemberClient::on_message(const distribution::ControlMessage& control,
                              std::string_view payload) {
  if (const auto* message = std::get_if<distribution::MessageSignal>(&control)) {
    if (std::holds_alternative<std::string_view>(message->to)) return;  // beats and the like
    etf::Cursor cursor(payload);
    if (tagged(cursor, "ra_event", 3)) {
      on_ra_event(payload);
    } else {
      on_reply(payload);
    }
  } else if (const auto* down = std::get_if<distribution::MonitorExitSignal>(&control)) {
    on_value(*down);
  }
}

/// {[alias|Ref], Reply} of a call.
void MemberClient::on_reply(std::string_view message) {
  etf::Cursor cursor(message);
  std::size_t caller = 0;
  if (!cursor.tuple(2) || cursor.list() != 1u || !cursor.is_atom("alias")) return;
  const std::optional<etf::ReferenceView> tag = cursor.reference_view();
  Call* call = tag ? call_of(*tag, caller) : nullptr;
  if (call == nullptr) return;
  demonitor(caller);
  const std::string_view reply = cursor.rest();
  if (call->awaits == Awaits::anything) return finish(caller);
  if (!tagged(cursor, "wrap_reply", 2)) return on_other_reply(reply);
  if (call->awaits == Awaits::put && tagged(cursor, "ok", 2)) return finish(caller);
  if (call->awaits == Awaits::place && tagged(cursor, "ok", 3)) {
    const std::optional<std::uint32_t> index = cursor.u32();
    const std::optional<std::string_view> members = index ? cursor.skip() : std::nullopt;
    if (members) return read_value(caller, *index, *members);
  }
  give_up("unexpected answer", reply);
}

void MemberClient::on_other_reply(std::string_view reply) {
  give_up("no answer of a leader", reply);
}

/// The end of an erpc: {Ref, return, {ok, Meta, Value}}. Of a call: the member is gone.
void MemberClient::on_value(const distribution::MonitorExitSignal& signal) {
  std::size_t caller = 0;
  const Call* call = call_of(signal.reference, caller);
  if (call == nullptr) return;
  etf::Cursor cursor(signal.reason);
  if (call->awaits == Awaits::value && cursor.tuple(3) && cursor.reference_view() &&
      cursor.is_atom("return") && tagged(cursor, "ok", 3) && cursor.skip() &&
      cursor.binary() == value_to_get(caller)) {
    return finish(caller);
  }
  give_up("unexpected end", signal.reason);
}

/// {ra_event, Leader, {applied, [{Correlation, Reply}]}}, or {ra_event, Member, {rejected,
/// {not_leader, Leader, Correlation}}}.
void MemberClient::on_ra_event(std::string_view message) {
  etf::Cursor cursor(message);
  if (!tagged(cursor, "ra_event", 3) || !cursor.skip()) give_up("unexpected event", message);
  if (tagged(cursor, "rejected", 2) && tagged(cursor, "not_leader", 3)) return on_rejected(cursor);
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

void MemberClient::on_rejected(etf::Cursor&) { give_up(to_string(leader_) + " does not lead"); }

etf::Pid MemberClient::pid(std::size_t caller) const {
  return etf::Pid(name_, kFirstPid + static_cast<std::uint32_t>(caller), 0, creation_);
}

etf::Reference MemberClient::reference(std::size_t caller, std::uint32_t call) const {
  etf::ReferenceWords words;
  words.count = 3;
  words.word = {static_cast<std::uint32_t>(caller), call, 0, 0, 0};
  return etf::Reference(name_, creation_, words);
}

MemberClient::Call* MemberClient::call_of(const etf::ReferenceView& reference,
                                          std::size_t& caller) {
  caller = reference.words.word[0];
  if (caller >= calls_.size() || reference.words.word[1] != calls_[caller].number) return nullptr;
  Call& call = calls_[caller];
  return call.awaits == Awaits::nothing ? nullptr : &call;
}

}  // namespace rakv::bench
