#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Small calls while values of 100 MB travel: one rakv member beside one BEAM member.
#   usage: bench_large.sh [rounds]     needs build/release/rakv (or RAKV_BINARY) and .deps/otp29 (make build otp29)
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
# shellcheck source=scripts/bench_nodes.sh
. scripts/bench_nodes.sh

start_rakv rakv --bootstrap kv
start_beam beam "kv_bench:member(\"$work/beam\")"
start_beam other 'io:format("ready~n")'
await_ready rakv beam other
run_beam client "large_bench:run([{\"beam\", {kv, '${node[beam]}'}}, {\"rakv\", {kv, '${node[rakv]}'}}], '${node[other]}', $rounds)"
