#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The start of a server with many entries beside another cluster of its node: how long the other's puts take meanwhile.
#   usage: bench_start.sh [ENTRIES]     default: 1000000 of 100 bytes
# Needs build/release/rakv (or RAKV_BINARY), and erl. Data go below build/ and are removed.
set -euo pipefail
cd "$(dirname "$0")/.."
entries=${1:-1000000}
rakv=${RAKV_BINARY:-build/release/rakv}
mkdir -p build
work=$(mktemp -d "$PWD/build/bench_start.XXXXXX")
host=$(hostname -s)
name=start$$
pid=
cleanup() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
printf '%s' "bench-$$" >"$work/cookie"
chmod 600 "$work/cookie"
"$rakv" start --sname "$name" --cookie-file "$work/cookie" --data-dir "$work/data" >"$work/out" 2>&1 &
pid=$!
for _ in $(seq 600); do
  if grep -q '^ready' "$work/out"; then break; fi
  sleep 0.1
done
ERL_FLAGS="-sname bench$$ -hidden" escript erlang_tests/bench/start_bench.escript "$name@$host" "bench-$$" "$entries"
