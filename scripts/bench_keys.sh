#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Many small keys on one rakv member and on one BEAM member (ra 3.1.10): resident memory for each key, start-up time, the
# time of a snapshot and how long the server's process answers nobody meanwhile, and what is written for each byte put.
#   usage: bench_keys.sh [KEYS [VALUE_BYTES]]     default: 5000000 values of 100 bytes
# Needs build/release/rakv (or RAKV_BINARY), build/bench's memory_driver and .deps/otp29. Data go below build/ and are
# removed. RAKV_BENCH_MEMBERS="rakv" leaves the BEAM out.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-5000000}
value_bytes=${2:-100}
mkdir -p build
export TMPDIR=$PWD/build
# shellcheck source=scripts/bench_nodes.sh
. scripts/bench_nodes.sh
declare -A start_ms

# start KIND FIRST|AGAIN: and how long it took.
start() {
  local kind=$1 began function
  began=$(date +%s%N)
  rm -f "$work/$kind.out"
  touch "$work/$kind.out"
  if [ "$kind" = rakv ]; then
    start_rakv rakv --bootstrap kv
  else
    function=member
    [ "$2" = FIRST ] || function=member_again
    start_beam beam "kv_bench:$function(\"$work/beam\")"
  fi
  for _ in $(seq 6000); do
    if grep -q '^ready' "$work/$kind.out"; then break; fi
    sleep 0.1
  done
  grep -q '^ready' "$work/$kind.out" || { echo "bench_keys: error: $kind is not ready after 10 minutes" >&2; exit 1; }
  start_ms[$kind]=$((($(date +%s%N) - began) / 1000000))
}

stop() {
  kill -"$2" "${pid[$1]}"
  wait "${pid[$1]}" 2>/dev/null || true
}

# status KIND FIELD: in kB
status() {
  awk -v field="$2:" '$1 == field {print $2}' "/proc/${pid[$1]}/status"
}

written() {
  awk '/^write_bytes/ {print $2}' "/proc/${pid[$1]}/io"
}

# Waits until a member writes no more: after a start, entries of its WAL may still go to segments.
settle() {
  local before=-1
  while [ "$before" != "$(written "$1")" ]; do
    before=$(written "$1")
    sleep 2
  done
}

# line KIND NAME TEXT
line() {
  printf '%-5s %-34s RSS %6d MB, %5d bytes a key, peak %6d MB   %s\n' "$1" "$2" $(($(status "$1" VmRSS) / 1024)) \
    $(($(status "$1" VmRSS) * 1024 / keys)) $(($(status "$1" VmHWM) / 1024)) "$3"
  echo 5 >"/proc/${pid[$1]}/clear_refs"
}

# phase KIND NAME PHASE [ARGUMENT...]
phase() {
  local kind=$1 name=$2 text
  shift 2
  text=$(build/bench/tests/bench/memory_driver --cookie "$cookie" --server "kv@${node[$kind]}" --keys "$keys" \
    --value-bytes "$value_bytes" --directory "$(dirname "$(find "$work/$kind" -type d -name snapshots | head -1)")" "$@")
  line "$kind" "$name" "$text"
}

member() {
  local kind=$1 before puts all
  start "$kind" FIRST
  before=$(written "$kind")
  phase "$kind" "puts, 512 in flight" put --pipeline --callers 512
  settle "$kind"
  puts=$(($(written "$kind") - before))
  phase "$kind" "snapshot" snapshot
  stop "$kind" KILL
  start "$kind" AGAIN
  line "$kind" "start after kill -9, with snapshot" "${start_ms[$kind]} ms"
  settle "$kind"
  before=$(written "$kind")
  phase "$kind" "three of five keys again" overwrite --pipeline --callers 512
  phase "$kind" "snapshot" snapshot
  phase "$kind" "compaction" compact
  all=$(($(written "$kind") - before))
  awk -v kind="$kind" -v puts="$puts" -v all="$all" -v bytes=$((keys * value_bytes)) 'BEGIN {
    printf "%-5s written for each byte of the values: %.1f for the puts; %.1f for the second puts with snapshot and compaction\n",
           kind, puts / bytes, all / (bytes * 3 / 5)}'
  # ra 3.1.10 answers some of these gets without a value.
  [ "$kind" = beam ] || phase "$kind" "gets" get --callers 64 --count 200000 --overwritten
  stop "$kind" TERM
}

echo "$keys keys, values of $value_bytes bytes"
for kind in ${RAKV_BENCH_MEMBERS:-rakv beam}; do member "$kind"; done
