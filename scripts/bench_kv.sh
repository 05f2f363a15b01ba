#!/usr/bin/env bash
# Compares one rakv member with one BEAM member (ra on OTP 29): same machine, same run, same driver.
#   usage: bench_kv.sh        needs build/release/rakv (or RAKV_BINARY) and .deps/otp29 (make build otp29)
set -euo pipefail
cd "$(dirname "$0")/.."
erl=$PWD/.deps/otp29/bin/erl
work=$(mktemp -d)
beam=bench_beam_$$ rakv=bench_rakv_$$ client=bench_client_$$ cookie=bench_$$
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
  echo "bench_kv.sh: not ready after 30 s: $1" >&2
  cat "$1" >&2
  return 1
}

.deps/otp29/bin/erlc -o "$work" erlang_tests/bench/kv_bench.erl
"$PWD/.deps/otp29/bin/epmd" -daemon
"${RAKV_BINARY:-build/release/rakv}" start --sname "$rakv" --cookie "$cookie" --bootstrap kv --data-dir "$work/rakv" >"$work/rakv.out" 2>"$work/rakv.log" &
rakv_pid=$!
pids+=("$rakv_pid")
"$erl" -sname "$beam" -setcookie "$cookie" -noinput -pa "$work" -kernel logger_level error \
  -eval "kv_bench:member(\"$work/beam\")" >"$work/beam.out" 2>&1 &
beam_pid=$!
pids+=("$beam_pid")
await_ready "$work/rakv.out"
await_ready "$work/beam.out"
"$erl" -sname "$client" -setcookie "$cookie" -noinput -pa "$work" -kernel logger_level error \
  -eval "kv_bench:run({'$beam@$host', \"$beam_pid\"}, {'$rakv@$host', \"$rakv_pid\"}), halt()."
