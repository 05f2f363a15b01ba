#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# put/s of clusters of three in every mix of leaders and followers, in one run, round by round.
#   usage: bench_mixed.sh [rounds]     needs build/release/rakv (or RAKV_BINARY), build/bench's kv_driver and .deps/otp29
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-7}
# shellcheck source=scripts/bench_nodes.sh
. scripts/bench_nodes.sh

for name in b1 b2 b3; do start_beam "$name" "kv_bench:node(\"$work/$name\")"; done
for name in r1 r2 r3; do start_rakv "$name"; done
await_ready b1 b2 b3 r1 r2 r3

# form LABEL MEMBER...: a cluster of that name, led by the first member
targets=()
form() {
  local label=$1 member members=() processes=()
  shift
  for member; do
    members+=("'${node[$member]}'")
    processes+=("${pid[$member]}")
  done
  run_beam client "kv_bench:form($label, [$(IFS=, && echo "${members[*]}")])"
  targets+=("$label=$label@${node[$1]}:$(IFS=, && echo "${processes[*]}")")
}
form b_bb b1 b2 b3
form r_bb r1 b1 b2
form b_rr b1 r1 r2
form r_rr r1 r2 r3
echo "b is a BEAM member, r is rakv, the leader first:"
build/bench/tests/bench/kv_driver --cookie "$cookie" --rounds "$rounds" --figures put_latency,put_64,pipelined "${targets[@]}"
