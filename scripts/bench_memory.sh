#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The memory of one rakv member that is given many times as many values as it has memory: the peak of each phase under
# --memory-budget. Values are distinct; three of five are put again before the compaction; gets verify what they get.
#   usage: bench_memory.sh [KEYS [VALUE_BYTES [BUDGET]]]     default: 131072 values of 65536 bytes (8 GiB in 512MB)
# Needs build/release/rakv (or RAKV_BINARY), build/bench's memory_driver and epmd. Data go below build/ and are removed.
set -euo pipefail
cd "$(dirname "$0")/.."
keys=${1:-131072}
value_bytes=${2:-65536}
budget=${3:-512MB}
mkdir -p build
export TMPDIR=$PWD/build
# shellcheck source=scripts/bench_nodes.sh
. scripts/bench_nodes.sh

# Without a snapshot all values are read at a start.
ready_seconds=600

start() {
  start_rakv rakv --bootstrap kv --memory-budget "$budget"
  await_ready rakv
}

# The peak since the last call, and what is resident after it.
memory() {
  awk '/^VmHWM/ {peak = $2} /^VmRSS/ {now = $2} END {printf "%6d MB  %6d MB", peak / 1024, now / 1024}' "/proc/${pid[rakv]}/status"
  echo 5 >"/proc/${pid[rakv]}/clear_refs"
}

written() {
  awk '/^write_bytes/ {print $2}' "/proc/${pid[rakv]}/io"
}

# phase NAME PHASE [ARGUMENT...]
phase() {
  local name=$1
  shift
  local before after line
  before=$(written)
  line=$(build/bench/tests/bench/memory_driver --cookie "$cookie" --server "kv@${node[rakv]}" --keys "$keys" \
    --value-bytes "$value_bytes" --directory "$(echo "$work/rakv/${node[rakv]}"/KV*)" "$@")
  after=$(written)
  printf '%-22s %s  %9d MB  %s\n' "$name" "$(memory)" $(((after - before) / 1000000)) "$line"
}

restart() {
  local began
  kill "-$1" "${pid[rakv]}"
  wait "${pid[rakv]}" 2>/dev/null || true
  began=$(date +%s%N)
  : >"$work/rakv.out"
  start
  printf '%-22s %s  %9s     %s\n' "restart after $1" "$(memory)" "" "ready after $((($(date +%s%N) - began) / 1000000)) ms"
}

start
echo "$keys values of $value_bytes bytes, --memory-budget $budget"
printf '%-22s %9s  %9s  %12s\n' phase peak after written
phase "puts" put
phase "gets" get --callers 16
phase "overwrites" overwrite
restart KILL
phase "gets" get --callers 16 --overwritten
phase "snapshot" snapshot
phase "compaction" compact
phase "gets" get --callers 16 --overwritten
restart TERM
phase "gets" get --callers 16 --overwritten
echo "files open: $(find "/proc/${pid[rakv]}/fd" -mindepth 1 | wc -l); segments: $(find "$work/rakv" -name '*.segment' | wc -l)"
grep -E "\\[(warning|error)\\]" "$work/rakv.log" || true
