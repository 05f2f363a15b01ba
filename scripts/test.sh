#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs every test, in stages; goes on after a failed stage, and ends with the totals.
#
#   usage: scripts/test.sh [STAGE...]         stages: unit release install shim25 shim29 suites harness
#                                             (default: all)
#
#   unit     debug build, GoogleTest units through CTest
#   release  the program itself, build/release/rakv
#   install  the same below build/installed, as `make install` does it
#   shim25   the rebar3 package's suite on the system's OTP 25
#   shim29   the same on OTP 29
#   suites   Common Test suites with real ra members on OTP 29 and clients on OTP 25
#   harness  ra's own ra_kv_harness, a short run of each: without rakv nodes, with one, half and half, only rakv
#
# Needs what scripts/setup.sh and scripts/otp29.sh .deps/otp29 install. `make test` does all of it.
#   RAKV_CT_ARGS   further arguments of rebar3 ct for the suites, e.g. "--suite=smoke_SUITE"
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
readonly top=$PWD
readonly jobs=${JOBS:-$(nproc)}
readonly logs=$top/build/test-logs
readonly otp29=$top/.deps/otp29
export RAKV_OTP25=${RAKV_OTP25:-/usr/bin/erl}
export RAKV_BINARY=${RAKV_BINARY:-$top/build/release/rakv}

passed=0
failed=0
summary=()
failures=()

# Leaves out what says that all is well: the log has it.
terse() {
  grep --line-buffered -vE '^ +Start +[0-9]+:|Passed +[0-9.]+ sec$|^\[[0-9]+/[0-9]+\] ' || true
}

# run STAGE COMMAND...: its whole output to a file, what matters of it to the terminal; $status and $seconds say how it
# went.
run() {
  local stage=$1 start=$SECONDS
  shift
  log=$logs/$stage.log
  printf '\n=== %s: %s\n' "$stage" "$*"
  "$@" 2>&1 </dev/null | tee "$log" | terse
  status=${PIPESTATUS[0]}
  seconds=$((SECONDS - start))
}

# add STAGE PASSED FAILED: a stage that ended badly without counting a failed test counts as one.
add() {
  local stage=$1 good=$2 bad=$3
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + good))
  failed=$((failed + bad))
  if [ "$bad" -gt 0 ]; then failures+=("$stage: $(why)"); fi
  summary+=("$(printf '%-12s %5d passed %5d failed %6d s' "$stage" "$good" "$bad" "$seconds")")
}

# What the log of the stage says about its failed tests: the names that CTest lists, or each failed case of Common Test
# with the lines that follow it; the end of the log if it says neither. Said again below the totals, where it is seen.
why() {
  sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    /\*\*\*Failed|\*\*\*Timeout|\*\*\*Exception|: FAILED$/ {left = 25; found = 1}
    left > 0 {print; left--}
    {last[NR % 15] = $0}
    END {if (!found) for (i = NR - 14; i <= NR; i++) if (i > 0) print last[i % 15]}' | cut -c 1-400
}

# How many of the <testsuite> in STAGE.xml ended as ATTRIBUTE says: count_in_report STAGE ATTRIBUTE
count_in_report() { grep -oE "\b$2=\"[0-9]+\"" "$logs/$1.xml" 2>/dev/null | head -1 | grep -oE '[0-9]+' || echo 0; }

# A test that was left out is a failed one.
count_ctest() {
  local all bad
  all=$(count_in_report "$1" tests)
  bad=$(($(count_in_report "$1" failures) + $(count_in_report "$1" disabled) + $(count_in_report "$1" skipped)))
  add "$1" $((all - bad)) "$bad"
}

# "All 3 tests passed." or "Failed 1 tests. Skipped 2 (0, 2) tests. Passed 3 tests."; a skipped test is a failed one.
count_ct() {
  local good bad skipped
  good=$(grep -oE '(All|Passed) [0-9]+ tests' "$log" | grep -oE '[0-9]+' | tail -1)
  bad=$(grep -oE 'Failed [0-9]+ tests' "$log" | grep -oE '[0-9]+' | tail -1)
  skipped=$(grep -oE 'Skipped [0-9]+ ' "$log" | grep -oE '[0-9]+' | tail -1)
  if [ "$status" -eq 0 ] && [ "${good:-0}" -eq 0 ]; then
    echo "$1: no test was run" >&2
    status=1
  fi
  add "$1" "${good:-0}" $((${bad:-0} + ${skipped:-0}))
}

stage_unit() {
  run unit-build scripts/build.sh debug
  if [ "$status" -ne 0 ]; then
    add unit 0 1
    return
  fi
  rm -f "$logs/unit.xml"
  run unit ctest --preset debug -j "$jobs" --no-tests=error --timeout 300 --output-junit "$logs/unit.xml"
  count_ctest unit
}

stage_release() {
  run release scripts/build.sh release rakv
  if [ "$status" -ne 0 ]; then add release 0 1; fi
}

# What is installed runs, is small, and a debugger finds its functions.
check_installed() {
  local bin=$top/build/installed/bin
  rm -rf "$top/build/installed"
  scripts/install.sh "$top/build/installed" || return 1
  [ "$("$bin/rakv" --version)" = "$(build/release/rakv version)" ] && ! objdump -h "$bin/rakv" | grep -q '\.debug_info' &&
    objdump -h "$bin/rakv" | grep -q '\.gnu_debuglink' && objdump -h "$bin/.debug/rakv.debug" | grep -q '\.debug_info'
}

stage_install() {
  run install check_installed
  if [ "$status" -eq 0 ]; then add install 1 0; else add install 0 1; fi
}

# in_rebar FOLDER BASE REBAR3 ARGUMENT...: rebar3 keeps what it builds under build/, apart for each OTP.
in_rebar() {
  local folder=$1 base=$2
  shift 2
  (cd "$folder" && REBAR_BASE_DIR="$top/build/rebar/$base" "$@")
}

stage_shim25() {
  run shim25 in_rebar rebar_shim shim25 rebar3 ct
  count_ct shim25
}

stage_shim29() {
  run shim29 in_rebar rebar_shim shim29 "$otp29/bin/rebar3" ct
  count_ct shim29
}

stage_suites() {
  local arguments
  read -r -a arguments <<<"${RAKV_CT_ARGS:-}"
  run suites in_rebar erlang_tests suites "$otp29/bin/rebar3" ct "${arguments[@]}"
  count_ct suites
}

# Of this seed the first 25 operations, on five nodes, cut one off, kill a member and a WAL, take a snapshot and compact.
stage_harness() {
  local rakv
  for rakv in none one odd all; do
    run "harness-$rakv" scripts/harness.sh 25 "$rakv" 666
    if [ "$status" -eq 0 ]; then add "harness-$rakv" 1 0; else add "harness-$rakv" 0 1; fi
  done
}

mkdir -p "$logs"
[ $# -gt 0 ] || set -- unit release install shim25 shim29 suites harness
for stage in "$@"; do
  case "$stage" in
    unit | release | install | shim25 | shim29 | suites | harness) "stage_$stage" ;;
    *)
      echo "test: error: there is no stage $stage (unit, release, install, shim25, shim29, suites, harness)" >&2
      exit 2
      ;;
  esac
done

printf '\n=== all stages, logs in build/test-logs\n'
printf '%s\n' "${summary[@]}"
if [ -f "$RAKV_BINARY" ]; then
  echo "program      $(stat -c %s "$RAKV_BINARY") bytes, of them $(size "$RAKV_BINARY" | awk 'NR == 2 {print $1}') of code"
fi
echo "time         $SECONDS s in all on $jobs cores"
echo "$passed passed, $failed failed"
if [ ${#failures[@]} -gt 0 ]; then printf '\n=== failed\n%s\n' "${failures[@]}"; fi
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
