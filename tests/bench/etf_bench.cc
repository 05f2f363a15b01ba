// SPDX-License-Identifier: Apache-2.0
// Costs of the term codec on what it meets most: append_entries messages of ra, and keys and values
// that are binaries.

#include <benchmark/benchmark.h>

#include <string>

#include "cnode/etf/canonical.h"
#include "cnode/etf/cursor.h"
#include "cnode/etf/hash.h"
#include "cnode/etf/order.h"
#include "cnode/etf/text.h"
#include "cnode/etf/writer.h"

namespace rakv::etf {
namespace {

constexpr std::int64_t kEntries = 16;

/// {'$gen_cast', {append_entries_rpc, ...}} with 16 entries, each a command with a key, a 256-byte
/// value and two maps.
void write_message(Writer& w) {
  const std::string value(256, 'v');
  w.tuple(2).atom("$gen_cast").tuple(7).atom("append_entries_rpc").u64(7);
  w.tuple(2).atom("kv1").atom("node1@example.net").u64(123456).u64(123457).u64(7);
  w.list(kEntries);
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(kEntries); ++i) {
    w.tuple(3).u64(123458 + i).u64(7).tuple(4).atom("$usr");
    w.map(2).atom("ts").u64(1'700'000'000'000u + i).atom("machine_version").u64(0);
    w.tuple(5).atom("put").binary("key-00000001").binary(value);
    w.map(1).atom("node").atom("node1@example.net");
    w.pid({"node1@example.net", 100, 0, 1'700'000'000u}).atom("noreply");
  }
  w.nil();
}

std::string message() {
  Writer w;
  write_message(w);
  return w.take();
}

void count(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}

void skip_message(benchmark::State& state) {
  const std::string bytes = message();
  for (auto _ : state) {
    Cursor cursor(bytes);
    benchmark::DoNotOptimize(cursor.skip());
  }
  count(state, bytes.size());
}
BENCHMARK(skip_message);

/// Index and term of each entry, the command as a slice.
void read_message(benchmark::State& state) {
  const std::string bytes = message();
  for (auto _ : state) {
    Cursor c(bytes);
    bool ok = c.tuple(2) && c.is_atom("$gen_cast") && c.tuple(7) && c.is_atom("append_entries_rpc");
    std::uint64_t sum = c.u64().value_or(0);
    ok = ok && c.tuple(2) && c.atom() && c.atom();
    sum += c.u64().value_or(0) + c.u64().value_or(0) + c.u64().value_or(0);
    const std::uint32_t entries = c.list().value_or(0);
    for (std::uint32_t i = 0; ok && i < entries; ++i) {
      ok = c.tuple(3);
      sum += c.u64().value_or(0) + c.u64().value_or(0) + c.skip().value_or("").size();
    }
    ok = ok && c.list_end(entries) && c.at_end();
    if (!ok) state.SkipWithError("the message can not be read");
    benchmark::DoNotOptimize(sum);
  }
  count(state, bytes.size());
}
BENCHMARK(read_message);

void write_message_again(benchmark::State& state) {
  Writer w;
  for (auto _ : state) {
    w.clear();
    write_message(w);
    benchmark::DoNotOptimize(w.view().data());
  }
  count(state, w.size());
}
BENCHMARK(write_message_again);

std::string binary_term(std::int64_t size) {
  Writer w;
  w.binary(std::string(static_cast<std::size_t>(size), 'x'));
  return w.take();
}

void canonicalize_binary_key(benchmark::State& state) {
  const std::string key = binary_term(state.range(0));
  std::string out;
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(canonicalize_to(key, out));
  }
}
BENCHMARK(canonicalize_binary_key)->Arg(16)->Arg(256);

void canonicalize_tuple_key(benchmark::State& state) {
  Writer w;
  w.tuple(3).atom("user").u64(12345).binary("name");
  std::string out;
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(canonicalize_to(w.view(), out));
  }
}
BENCHMARK(canonicalize_tuple_key);

void canonicalize_map(benchmark::State& state) {
  Writer w;
  w.map(32);
  for (int i = 32; i-- > 0;) w.integer(i * 7 % 32).binary("value");
  std::string out;
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(canonicalize_to(w.view(), out));
  }
}
BENCHMARK(canonicalize_map);

void phash2_of_binary(benchmark::State& state) {
  const std::string value = binary_term(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(phash2(value));
  count(state, value.size());
}
BENCHMARK(phash2_of_binary)->Arg(16)->Arg(256)->Arg(65536);

void phash2_of_message(benchmark::State& state) {
  const std::string bytes = message();
  for (auto _ : state) benchmark::DoNotOptimize(phash2(bytes));
  count(state, bytes.size());
}
BENCHMARK(phash2_of_message);

void external_size_of_message(benchmark::State& state) {
  const std::string bytes = message();
  for (auto _ : state) benchmark::DoNotOptimize(external_size(bytes));
  count(state, bytes.size());
}
BENCHMARK(external_size_of_message);

void compare_keys_of_binaries(benchmark::State& state) {
  const std::string a = binary_term(32);
  std::string b = a;
  b.back() = 'y';
  for (auto _ : state) benchmark::DoNotOptimize(compare_keys(a, b));
}
BENCHMARK(compare_keys_of_binaries);

void print_message(benchmark::State& state) {
  const std::string bytes = message();
  for (auto _ : state) benchmark::DoNotOptimize(print_text(bytes));
}
BENCHMARK(print_message);

}  // namespace
}  // namespace rakv::etf
