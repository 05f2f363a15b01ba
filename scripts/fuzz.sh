#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every libFuzzer target that `scripts/build.sh fuzz` made, as many at once as there are cores.
#
#   usage: scripts/fuzz.sh SECONDS [TARGET...]
#
# Seeds are read from tests/fuzz/corpus/TARGET; what is found goes to build/fuzz-corpus/TARGET and helps the next run.
# An input that crashes a target is left in build/fuzz-findings and makes the run fail.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
[[ $seconds =~ ^[1-9][0-9]*$ ]] || {
  echo "fuzz: error: SECONDS must be a whole number above 0, not '$seconds'" >&2
  exit 1
}

if [ $# -gt 0 ]; then
  names=("$@")
else
  mapfile -t names < <(find build/fuzz -type f -executable -name '*_fuzz' -printf '%f\n' 2>/dev/null | sort)
fi
[ ${#names[@]} -gt 0 ] || {
  echo "fuzz: error: no fuzz target below build/fuzz: run scripts/build.sh fuzz" >&2
  exit 1
}

run_target() {
  local name=$1 seconds=$2 program log corpus
  local seeds=()
  program=$(find build/fuzz -type f -executable -name "$name" | head -1)
  [ -n "$program" ] || {
    echo "fuzz: error: there is no target $name" >&2
    return 1
  }
  corpus=build/fuzz-corpus/$name
  log=build/fuzz-findings/$name.log
  mkdir -p "$corpus" build/fuzz-findings
  [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
  if "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz-findings/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    echo "fuzz: $name: $(awk '/number_of_executed_units/ {print $2}' "$log") runs in $seconds s, nothing found"
  else
    tail -40 "$log"
    echo "fuzz: $name FAILED: see build/fuzz-findings/$name-* and $log" >&2
    return 1
  fi
}
export -f run_target

echo "fuzz: ${#names[@]} targets, $seconds s each, $(nproc) at once"
# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'run_target "$1" "$2"' _ '{}' "$seconds"
