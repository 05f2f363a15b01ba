#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs ra's own ra_kv_harness on clusters of which some or all nodes are rakv; see erlang_tests/harness/harness_run.erl.
#
#   usage: scripts/harness.sh OPS [RAKV [SEED]]      RAKV: all, odd, one or none (default: all); a SEED replays what the
#                                                    harness draws (default: a random one, which is printed)
#
# Needs build/release/rakv (or RAKV_BINARY) and .deps/otp29. Data and logs go to a folder below build/harness, which is
# removed after a run without failures.
set -euo pipefail
cd "$(dirname "$0")/.."
ops=${1:?usage: scripts/harness.sh OPS [RAKV [SEED]]}
rakv=${2:-all}
seed=${3:-$RANDOM$RANDOM}
[[ $ops =~ ^[1-9][0-9]*$ && $seed =~ ^[0-9]+$ && $rakv =~ ^(all|odd|one|none)$ ]] || {
  echo "harness: error: OPS and SEED are numbers, RAKV is all, odd, one or none; given: OPS=$ops RAKV=$rakv SEED=$seed" >&2
  exit 2
}
export RAKV_BINARY=${RAKV_BINARY:-$PWD/build/release/rakv}
[ -x "$RAKV_BINARY" ] || {
  echo "harness: error: there is no program at $RAKV_BINARY: make build, or name one in RAKV_BINARY" >&2
  exit 2
}
export PATH=$PWD/.deps/otp29/bin:$PATH

mkdir -p build/harness
run=$(mktemp -d "$PWD/build/harness/$rakv-XXXXXX")
mkdir "$run/ebin" "$run/stand_ins" "$run/data"
erlc -o "$run/ebin" erlang_tests/harness/*.erl erlang_tests/support/cluster_links*.erl
erlc -o "$run/stand_ins" erlang_tests/harness/stand_ins/*.erl
status=0
erl -noinput -kernel logger "[{handler,default,logger_std_h,#{config=>#{file=>\"$run/data/controller.log\"}}}]" \
  -epmd_module harness_epmd -start_epmd false -kernel prevent_overlapping_partitions false \
  -pa "$run/ebin" -run harness_run main "$ops" "$rakv" "$seed" "$run/data" "$run/stand_ins" || status=$?
[ "$status" -ne 0 ] || rm -rf "$run"
exit "$status"
