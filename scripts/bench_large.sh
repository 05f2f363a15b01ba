#!/usr/bin/env bash
# Small calls while values of 100 MB travel: one rakv member beside one BEAM member.
#   usage: bench_large.sh [rounds]     needs build/release/rakv (or RAKV_BINARY) and .deps/otp29 (make build otp29)
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
erl=$PWD/.deps/otp29/bin/erl
binary=${RAKV_BINARY:-build/release/rakv}
work=$(mktemp -d)
beam=large_beam_$$ rakv=large_rakv_$$ client=large_client_$$ other=large_other_$$ cookie=large_$$
host=$(hostname -s)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait "${pids[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

await_ready() {
  for _ in $(seq 300); do
    grep -q '^ready' "$1" && return 0
    sleep 0.1
  done
  echo "bench_large.sh: not ready after 30 s: $1" >&2
  cat "$1" >&2
  return 1
}

.deps/otp29/bin/erlc -o "$work" erlang_tests/bench/kv_bench.erl erlang_tests/bench/large_bench.erl
"$PWD/.deps/otp29/bin/epmd" -daemon
"$binary" start --sname "$rakv" --cookie "$cookie" --bootstrap kv --data-dir "$work/rakv" >"$work/rakv.out" 2>"$work/rakv.log" &
pids+=("$!")
"$erl" -sname "$beam" -setcookie "$cookie" -noinput -pa "$work" -kernel logger_level error \
  -eval "kv_bench:member(\"$work/beam\")" >"$work/beam.out" 2>&1 &
pids+=("$!")
"$erl" -sname "$other" -setcookie "$cookie" -noinput -pa "$work" -eval 'io:format("ready~n")' >"$work/other.out" 2>&1 &
pids+=("$!")
await_ready "$work/rakv.out"
await_ready "$work/beam.out"
await_ready "$work/other.out"
"$erl" -sname "$client" -setcookie "$cookie" -noinput -pa "$work" -kernel logger_level error \
  -eval "large_bench:run([{\"beam\", {kv, '$beam@$host'}}, {\"rakv\", {kv, '$rakv@$host'}}], '$other@$host', $rounds), halt()."
