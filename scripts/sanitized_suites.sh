#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the Common Test suites with every rakv node built with sanitizers, and fails when a suite does or when a process
# has left a report, however its suite ended.
#
#   usage: scripts/sanitized_suites.sh asan|tsan [ARGUMENT...]     arguments of rebar3 ct, e.g. --suite=test/smoke_SUITE
#
# Needs what scripts/test.sh needs, and `scripts/build.sh asan rakv` or `scripts/build.sh tsan rakv`. Reports stay in
# build/PRESET/reports.
#   RAKV_SLOWNESS   how many times longer the suites wait than for a release build (default: 4 for asan, 8 for tsan)
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
preset=${1:-}
case "$preset" in
  asan) slowness=4 ;;
  tsan) slowness=8 ;;
  *)
    echo "usage: scripts/sanitized_suites.sh asan|tsan [ARGUMENT...]" >&2
    exit 2
    ;;
esac
shift
export RAKV_BINARY=$PWD/build/$preset/rakv
[ -x "$RAKV_BINARY" ] || {
  echo "sanitized_suites: error: there is no program at $RAKV_BINARY: scripts/build.sh $preset rakv" >&2
  exit 2
}
readonly reports=$PWD/build/$preset/reports
rm -rf "$reports"
mkdir -p "$reports"

# The first finding ends a process, with a status that rakv itself never ends with.
readonly common=log_path=$reports/report:halt_on_error=1:exitcode=77
export ASAN_OPTIONS=$common:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=$common:print_stacktrace=1
export TSAN_OPTIONS=$common:second_deadlock_stack=1
export RAKV_SLOWNESS=${RAKV_SLOWNESS:-$slowness}
# Shadow memory, red zones and freed memory that is kept back count as the process's memory.
export RAKV_SNAPSHOT_PEAK_MB=${RAKV_SNAPSHOT_PEAK_MB:-3000} RAKV_GROWTH_MB=${RAKV_GROWTH_MB:-1500}
export RAKV_BUDGET_PEAK_MB=${RAKV_BUDGET_PEAK_MB:-3000} RAKV_BUDGET_MARGIN_MB=${RAKV_BUDGET_MARGIN_MB:-1500}
export RAKV_CT_ARGS="--multiply_timetraps $RAKV_SLOWNESS $*"

# A run that reports nothing proves nothing when the program was built without the sanitizer.
grep -aq "__${preset}_init" "$RAKV_BINARY" || {
  echo "sanitized_suites: error: $RAKV_BINARY is not built with the sanitizer of $preset" >&2
  exit 2
}
status=0
scripts/test.sh suites || status=1
count=$(find "$reports" -type f | wc -l)
if [ "$count" -gt 0 ]; then
  find "$reports" -type f | sort | head -5 | while read -r report; do
    printf '\n=== %s\n' "$report"
    head -60 "$report"
  done
  status=1
fi
echo "$preset: $count reports of sanitizers in build/$preset/reports"
exit "$status"
