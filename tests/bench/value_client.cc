// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/value_client.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "cnode/etf/hash.h"

namespace rakv::bench {
namespace {

/// Nothing that is measured takes as long.
constexpr std::chrono::seconds kPatience{60};

std::string name_of_key(std::size_t number) { return "key_" + std::to_string(number); }

}  // namespace

ValueClient::ValueClient(std::string cookie)
    : MemberClient("memory_driver", std::move(cookie), kPatience) {
  set_workload({});
}

void ValueClient::set_workload(Workload workload) {
  workload_ = std::move(workload);
  value_.assign(workload_.value_bytes, '\0');
  zeros_hash_ = etf::phash2_binary(value_);
}

std::string_view ValueClient::value_of(std::size_t key) {
  if (workload_.round) {
    const std::uint64_t head[] = {key, workload_.round(key)};
    std::memcpy(value_.data(), head, sizeof head);
  }
  return value_;
}

std::string_view ValueClient::value_to_get(std::size_t caller) { return value_of(keys_[caller]); }

void ValueClient::write_put(etf::Writer& writer, std::size_t operation) {
  const std::size_t key = workload_.key(operation);
  writer.tuple(4).atom("put").binary(name_of_key(key)).binary(value_of(key));
  writer.map(2).atom("size").u64(etf::external_size_binary(value_.size()));
  writer.atom("hash").u64(workload_.round ? etf::phash2_binary(value_) : zeros_hash_);
}

void ValueClient::run_puts(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  kind_ = Kind::put;
  run_calls(leader, callers, count);
}

void ValueClient::run_gets(const raft::ServerId& leader, std::size_t callers, std::size_t count) {
  kind_ = Kind::get;
  keys_.resize(std::max(keys_.size(), callers));
  run_calls(leader, callers, count);
}

void ValueClient::run_pipelined(const raft::ServerId& leader, std::size_t window,
                                std::size_t count) {
  run_pipelined_puts(leader, window, count);
}

void ValueClient::run_pings(const raft::ServerId& server, std::function<bool()> done) {
  kind_ = Kind::ping;
  pinged_enough_ = std::move(done);
  start_run(server, 1, 0);
  wanted_ = SIZE_MAX;
  begin(0);
  end_run();
}

void ValueClient::begin(std::size_t caller) {
  if (kind_ == Kind::ping && pinged_enough_()) return end_early();
  const std::size_t operation = begun_++;
  etf::Writer request;
  switch (kind_) {
    case Kind::ping:
      return ask(caller, Awaits::anything, request.atom("ping").view());
    case Kind::put:
      request.tuple(2).atom("leader_call");
      request.tuple(3).atom("command").atom("normal").tuple(3).atom("$usr");
      write_put(request, operation);
      return ask(caller, Awaits::put, request.atom("await_consensus").view());
    case Kind::get:
      keys_[caller] = workload_.key(operation);
      request.tuple(2).atom("leader_call").tuple(2).atom("consistent_aux");
      request.tuple(2).atom("get").binary(name_of_key(keys_[caller]));
      return ask(caller, Awaits::place, request.view());
  }
}

void ValueClient::take_snapshot(const raft::ServerId& server) {
  start_run(server, 1, 1);
  begun_ = 1;
  ask(0, Awaits::anything, etf::Writer().tuple(2).atom("aux_command").atom("take_snapshot").view());
  end_run();
}

void ValueClient::trigger_compaction(const raft::ServerId& server) {
  start_run(server, 1, 0);
  send_cast(0, [](etf::Writer& writer) {
    writer.tuple(2).atom("ra_log_event").atom("major_compaction");
  });
}

void ValueClient::ask(std::size_t caller, Awaits awaits, std::string_view request) {
  Call& call = calls_[caller];
  call.began = Clock::now();
  call.awaits = awaits;
  ++call.number;
  send(caller, encode_monitor(caller, call.number));
  send(caller, encode_call(caller, call.number, request));
}

void ValueClient::read_value(std::size_t caller, std::uint32_t index, std::string_view members) {
  Call& call = calls_[caller];
  call.awaits = Awaits::value;
  send(caller, encode_read_value(caller, ++call.number, index, members));
}

}  // namespace rakv::bench
