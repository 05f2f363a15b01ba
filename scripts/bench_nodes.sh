# SPDX-License-Identifier: Apache-2.0
# Nodes for the benchmark scripts, which source this file: started here, stopped when the script ends.
#   $erl, $work, $cookie, $host; start_rakv, start_beam, await_ready; ${node[NAME]} and ${pid[NAME]} of what was started
# Needs build/release/rakv (or RAKV_BINARY) and .deps/otp29 (make build otp29).
# shellcheck shell=bash disable=SC2034 # the scripts read what is set here
erl=$PWD/.deps/otp29/bin/erl
work=$(mktemp -d)
cookie=bench_$$
host=$(hostname -s)
declare -A node pid
finish() {
  for one in "${pid[@]}"; do kill "$one" 2>/dev/null || true; done
  wait "${pid[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# start_rakv NAME [ARGUMENT...]
start_rakv() {
  local name=$1
  shift
  node[$name]=bench_${name}_$$@$host
  "${RAKV_BINARY:-build/release/rakv}" start --sname "bench_${name}_$$" --cookie "$cookie" --data-dir "$work/$name" "$@" \
    >"$work/$name.out" 2>"$work/$name.log" &
  pid[$name]=$!
}

# start_beam NAME EXPRESSION: with the benchmarks' modules; it is ready when the expression has printed so.
start_beam() {
  local name=$1
  node[$name]=bench_${name}_$$@$host
  [ -f "$work/kv_bench.beam" ] || .deps/otp29/bin/erlc -o "$work" erlang_tests/bench/*.erl
  "$erl" -sname "bench_${name}_$$" -setcookie "$cookie" -noinput -pa "$work" -kernel logger_level error -eval "$2" \
    >"$work/$name.out" 2>&1 &
  pid[$name]=$!
}

# run_beam NAME EXPRESSION: the same in the foreground, to its end.
run_beam() {
  "$erl" -sname "bench_$1_$$" -setcookie "$cookie" -noinput -pa "$work" -kernel logger_level error -eval "$2, halt()."
}

# Waits for each, 30 s or $ready_seconds.
await_ready() {
  local name
  for name; do
    for _ in $(seq $((${ready_seconds:-30} * 10))); do
      if grep -q '^ready' "$work/$name.out"; then continue 2; fi
      sleep 0.1
    done
    echo "$(basename "$0"): not ready after ${ready_seconds:-30} s: $name" >&2
    cat "$work/$name".* >&2
    return 1
  done
}

"$PWD/.deps/otp29/bin/epmd" -daemon
