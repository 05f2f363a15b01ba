#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compares one rakv member with one BEAM member (ra on OTP 29): same machine, same run, same driver. First with a light
# native client, which leaves the processor to the members, then with a BEAM as client.
#   usage: bench_kv.sh        needs build/release/rakv (or RAKV_BINARY), build/bench's kv_driver and .deps/otp29
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/bench_nodes.sh
. scripts/bench_nodes.sh

start_rakv rakv --bootstrap kv
start_beam beam "kv_bench:member(\"$work/beam\")"
await_ready rakv beam
echo "a native client:"
build/bench/tests/bench/kv_driver --cookie "$cookie" "beam=kv@${node[beam]}:${pid[beam]}" "rakv=kv@${node[rakv]}:${pid[rakv]}"
echo
echo "a BEAM as client:"
run_beam client "kv_bench:run({'${node[beam]}', \"${pid[beam]}\"}, {'${node[rakv]}', \"${pid[rakv]}\"})"
