// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/bare_client.h"

#include <algorithm>
#include <utility>

#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "raft/wire/ids.h"
#include "tests/bench/support.h"

namespace rakv::bench {
namespace {

constexpr std::size_t kValueBytes = 256;
constexpr std::size_t kKeys = 2000;
/// Nothing that is measured takes as long.
constexpr std::chrono::seconds kPatience{20};

const std::string& value() {
  static const std::string bytes(kValueBytes, '\0');
  return bytes;
}

}  // namespace

BareClient::BareClient(std::string cookie)
    : MemberClient("kv_driver", std::move(cookie), kPatience) {
  put_meta_ = etf::Writer()
                  .map(2)
                  .atom("size")
                  .u64(etf::external_size_binary(kValueBytes))
                  .atom("hash")
                  .u64(etf::phash2_binary(value()))
                  .take();
}

bool BareClient::run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  return run(Awaits::put, leader, callers, count);
}

bool BareClient::run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  return run(Awaits::place, leader, callers, count);
}

/// What was sent to another leader is of no use for this one.
void BareClient::prepare_calls(const raft::ServerId& leader, std::size_t callers) {
  leader_ = leader;
  other_leader_.reset();
  messages_.resize(std::max(messages_.size(), callers));
  for (std::size_t caller = 0; caller < callers; ++caller) prepare(caller);
}

bool BareClient::run(Awaits first, const raft::ServerId& leader, std::size_t callers,
                     std::size_t count) {
  first_ = first;
  prepare_calls(leader, callers);
  run_calls(leader, callers, count);
  return !other_leader_;
}

bool BareClient::run_pipelined(const raft::ServerId& leader, std::size_t window,
                               std::size_t count) {
  other_leader_.reset();
  run_pipelined_puts(leader, window, count);
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
  prepare_calls(other, 1);
  start_run(other, 1, 1);
  begun_ = 1;
  etf::Writer request;
  request.tuple(2).atom("transfer_leadership");
  wire::write_server_id(request, member);
  calls_[0].awaits = Awaits::anything;
  const Numbers numbers{++calls_[0].number};
  send(0, messages_[0].monitor.with(numbers));
  send(0, encode_call(0, numbers.call, request.view()));
  end_run();
}

void BareClient::begin(std::size_t caller) {
  Call& call = calls_[caller];
  const Messages& messages = messages_[caller];
  const Numbers numbers{++call.number, static_cast<std::uint32_t>(begun_++ % kKeys), 0};
  call.began = Clock::now();
  call.awaits = first_;
  send(caller, messages.monitor.with(numbers));
  send(caller, (first_ == Awaits::put ? messages.put : messages.get).with(numbers));
}

/// Encodes what this process is going to send to the leader.
void BareClient::prepare(std::size_t caller) {
  Messages& messages = messages_[caller];
  messages.monitor = RepeatedMessage::of(
      [&](const Numbers& numbers) { return encode_monitor(caller, numbers.call); });
  messages.demonitor = RepeatedMessage::of(
      [&](const Numbers& numbers) { return encode_demonitor(caller, numbers.call); });
  messages.put = RepeatedMessage::of([&](const Numbers& numbers) {
    etf::Writer request;
    request.tuple(2).atom("leader_call");
    request.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
    write_put(request, numbers.key);
    request.atom("await_consensus");
    return encode_call(caller, numbers.call, request.view());
  });
  messages.get = RepeatedMessage::of([&](const Numbers& numbers) {
    etf::Writer request;
    request.tuple(2).atom("leader_call");
    request.tuple(2).atom("consistent_aux").tuple(2).atom("get").binary(key_of(numbers.key));
    return encode_call(caller, numbers.call, request.view());
  });
  messages.members.clear();
}

void BareClient::write_put(etf::Writer& writer, std::size_t operation) {
  writer.tuple(4).atom("put").binary(key_of(static_cast<std::uint32_t>(operation % kKeys)));
  writer.binary(value()).raw(put_meta_);
}

void BareClient::read_value(std::size_t caller, std::uint32_t index, std::string_view members) {
  Messages& messages = messages_[caller];
  if (messages.members != members) {
    messages.members = members;
    messages.read_value = RepeatedMessage::of([&](const Numbers& numbers) {
      return encode_read_value(caller, numbers.call, numbers.index, members);
    });
  }
  calls_[caller].awaits = Awaits::value;
  send(caller, messages.read_value.with({++calls_[caller].number, 0, index}));
}

std::string_view BareClient::value_to_get(std::size_t) { return value(); }

void BareClient::demonitor(std::size_t caller) {
  send(caller, messages_[caller].demonitor.with({calls_[caller].number}));
}

/// {redirect, Leader}: this run is over.
void BareClient::on_other_reply(std::string_view reply) {
  etf::Cursor cursor(reply);
  if (tagged(cursor, "redirect", 2)) other_leader_ = wire::read_server_id(cursor);
  if (!other_leader_) give_up("no answer of a leader", reply);
  end_early();
}

void BareClient::on_rejected(etf::Cursor& cursor) {
  other_leader_ = cursor.kind() == etf::TermKind::tuple ? wire::read_server_id(cursor) : leader_;
  end_early();
}

}  // namespace rakv::bench
