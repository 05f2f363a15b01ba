#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Plants bugs, one at a time, and says which check finds each.
#
#   usage: scripts/sensitivity.sh [--sim] [--seeds=N] [--runs=N] [BUG or MODULE...]      default: all of them
#          scripts/sensitivity.sh --check              only whether all patches apply (scripts/lint.sh does this)
#          scripts/sensitivity.sh --build              only the program and the tests with all patches
#
# Each tests/sensitivity/bugs/BUG.patch makes one mistake where planted("BUG") says so. All are applied to a copy of the
# tree, which is built once (build/sensitivity); the environment variable RAKV_PLANTED_BUG chooses the bug of a process.
# What is tried, from cheap to dear, until something fails: the test that the patch names, if it is one of the module's
# own; all units of the module; the test that the patch names elsewhere; the other units; RandomCrash; random runs of
# whole clusters; a case of the suites, if the patch names one. A check that never ends counts as one that fails.
#
#   --sim        only random runs of whole clusters: after how many seeds is each bug found?
#   --seeds=N    how many of them are tried (default: 300)
#   --runs=N     how many seeds RandomCrash tries (default: 5000; the units of raft/log try 500)
#
# Ends with 1 when a bug survives whose patch does not say why it can't be seen. The table is build/sensitivity/table.md,
# what each check said is in build/sensitivity/logs. JOBS bugs are tried at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly top=$PWD
readonly bugs=tests/sensitivity/bugs
readonly work=$top/build/sensitivity
# Where other builds of the repository have theirs, seen from the source: ccache knows what no patch has touched.
readonly build=$work/source/build/optimized
readonly jobs=${JOBS:-$(nproc)}
mode=all
seeds=300
runs=5000
wanted=()
targets=(all rakv_sim)

for argument in "$@"; do
  case $argument in
    --check | --build | --sim) mode=${argument#--} ;;
    --try) mode=try ;;
    --seeds=*) seeds=${argument#*=} ;;
    --runs=*) runs=${argument#*=} ;;
    -*)
      echo "sensitivity: error: what is $argument? See the beginning of scripts/sensitivity.sh" >&2
      exit 2
      ;;
    *) wanted+=("$argument") ;;
  esac
done

# field BUG NAME: what stands after "NAME: " in the words before its patch.
field() { sed -n "/^diff /q; s/^$2: //p" "$bugs/$1.patch"; }

all_bugs() {
  local patch
  for patch in "$bugs"/*.patch; do basename "$patch" .patch; done
}

# The tree as it is, changes that are not committed included, with every patch, in $1.
patch_tree() {
  local into=$1 bug name failed=0
  rm -rf "$into"
  mkdir -p "$into"
  git ls-files -coz --exclude-standard -- CMakeLists.txt cnode raft kv tests README.md LICENSE | while IFS= read -r -d '' name; do
    [ ! -e "$name" ] || printf '%s\0' "$name" # else it is about to be removed
  done | xargs -0 cp --parents -t "$into"
  for bug in $(all_bugs); do
    name=$(field "$bug" Bug)
    if [ "$name" != "$bug" ] || [ -z "$(field "$bug" Module)" ] || [ -z "$(field "$bug" What)" ]; then
      echo "sensitivity: error: $bugs/$bug.patch must begin with the lines Bug: $bug, Module: and What:" >&2
      failed=1
    elif ! grep -qF "planted(\"$bug\")" "$bugs/$bug.patch"; then
      echo "sensitivity: error: nothing in $bugs/$bug.patch asks for planted(\"$bug\")" >&2
      failed=1
    elif ! (cd "$into" && GIT_CEILING_DIRECTORIES=$into/.. git apply --recount -C1 "$top/$bugs/$bug.patch") 2>"$into/why"; then
      echo "sensitivity: error: $bugs/$bug.patch does not apply any more: make the same mistake in the code as it is" \
        "now (CONTRIBUTING.md, \"Plant a bug\"), or remove the patch if it can't be made any more" >&2
      sed 's/^/  /' "$into/why" >&2
      failed=1
    fi
    rm -f "$into/why"
  done
  (cd "$into" && grep -rlF 'planted("' --include='*.cc' cnode raft kv | xargs -r sed -i '1a #include "tests/sensitivity/planted.h"')
  return "$failed"
}

if [ "$mode" = check ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  patch_tree "$folder/source"
  exit
fi

# Files that have not changed keep their times, so that only what has changed is compiled.
build_all() {
  local file
  mkdir -p "$work"
  patch_tree "$work/fresh"
  mkdir -p "$work/source"
  (cd "$work/source" && find . -path ./build -prune -o -type f -print0) | while IFS= read -r -d '' file; do
    [ -e "$work/fresh/$file" ] || rm -f "$work/source/$file"
  done
  (cd "$work/fresh" && find . -type f -print0) | while IFS= read -r -d '' file; do
    cmp -s "$work/fresh/$file" "$work/source/$file" && continue
    mkdir -p "$(dirname "$work/source/$file")"
    cp "$work/fresh/$file" "$work/source/$file"
  done
  rm -rf "$work/fresh"
  echo "sensitivity: building with $jobs jobs"
  cmake -G Ninja -S "$work/source" -B "$build" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DRAKV_TESTS=ON \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$work/configure.log" 2>&1 || {
    cat "$work/configure.log" >&2
    return 1
  }
  cmake --build "$build" -j "$jobs" --target "${targets[@]}"
}

if [ "$mode" = build ]; then
  build_all
  exit
fi

# --- one bug

# Runs a check, 300 s at most; true when it fails. `said` is what it says, `how` how it failed.
fails() {
  local status=0
  said=$work/logs/$1.log
  shift
  timeout -k 5 300 "$@" >"$said" 2>&1 </dev/null || status=$?
  how=
  [ "$status" -ne 124 ] && [ "$status" -ne 137 ] || how=", which does not end"
  [ "$status" -le 128 ] || how=", which aborts"
  [ "$status" -ne 0 ]
}

# The test that has failed, or that ran last.
failed_test() {
  local name
  name=$(sed -nE 's/^\[  FAILED  \] ([^ ,]+).*/\1/p' "$said" | head -1)
  [ -n "$name" ] || name=$(sed -nE 's/^\[ RUN      \] ([^ ]+).*/\1/p' "$said" | tail -1)
  echo "$name"
}

failed_seed() { { grep -oE 'RAKV_SEED=[0-9]+' "$said" || true; } | head -1 | sed 's/RAKV_SEED=/, seed /'; }

program_of() { compgen -G "$build/$1/rakv_*_test"; }

# unit PROGRAM [FILTER]: true when a test of it fails; `found` says which.
unit() {
  local program=$1 filter=${2:-*}
  fails "$bug.$(basename "$program")" env RAKV_PLANTED_BUG="$bug" "$program" --gtest_fail_fast \
    --gtest_filter="$filter" --gtest_break_on_failure=0 || return 1
  found="$(failed_test)$how$(failed_seed)"
}

simulated() {
  fails "$bug.sim" env RAKV_PLANTED_BUG="$bug" timeout 3000 "$build/tests/simulation/rakv_sim" --seeds="$seeds" \
    --no-shrink --stop || return 1
  found="rakv_sim, seed $(sed -nE 's/^seed ([0-9]+) FAILED.*/\1/p' "$said" | head -1)"
}

# Prints "BUG|MODULE|KIND|FOUND BY"; KIND: own (the module's units), unit, crash, sim, suite, none, equivalent.
try() {
  local bug=$1 module check kind own program expected
  module=$(field "$bug" Module)
  own=$(program_of "$module")
  expected=$(field "$bug" Caught)
  read -r kind program check <<<"${expected:-none}"
  if [ "$kind" = unit ] && [ "$(basename "$own")" = "$program" ] && unit "$own" "$check"; then
    echo "$bug|$module|own|$found"
  elif unit "$own"; then
    echo "$bug|$module|own|$found"
  elif [ "$kind" = unit ] && unit "$(find "$build" -name "$program")" "$check"; then
    echo "$bug|$module|unit|$found"
  elif [ "$kind" = suite ] && in_suite "$program" "$check"; then
    echo "$bug|$module|suite|$found"
  elif elsewhere; then
    echo "$bug|$module|unit|$found"
  elif RAKV_RUNS=$runs unit "$(program_of raft/log)" 'RandomCrash*'; then
    echo "$bug|$module|crash|$found"
  elif simulated; then
    echo "$bug|$module|sim|$found"
  elif [ -n "$(field "$bug" Equivalent)" ]; then
    echo "$bug|$module|equivalent|$(field "$bug" Equivalent)"
  else
    echo "$bug|$module|none|nothing"
  fi
}

elsewhere() {
  local program
  for program in $(find "$build" -name 'rakv_*_test' -type f | sort); do
    [ "$program" = "$own" ] || ! unit "$program" || return 0
  done
  return 1
}

in_suite() {
  fails "$bug.suite" env RAKV_PLANTED_BUG="$bug" RAKV_BINARY="$build/rakv" \
    RAKV_CT_ARGS="--suite=test/$1${2:+ --case=$2}" scripts/test.sh suites || return 1
  found="$1${2:+:$2}"
}

measure() {
  local bug=$1
  if simulated; then
    echo "$bug|$(field "$bug" Module)|sim|$found"
  else
    echo "$bug|$(field "$bug" Module)|none|rakv_sim, not in $seeds seeds"
  fi
}

if [ "$mode" = try ]; then
  mkdir -p "$work/logs"
  for bug in "${wanted[@]}"; do
    if [ -n "${RAKV_ONLY_SIM:-}" ]; then measure "$bug"; else try "$bug"; fi
  done
  exit
fi

# --- all of them

chosen=()
for bug in $(all_bugs); do
  [ ${#wanted[@]} -gt 0 ] || chosen+=("$bug")
  for name in "${wanted[@]}"; do
    if [ "$name" = "$bug" ] || [ "$name" = "$(field "$bug" Module)" ]; then chosen+=("$bug"); fi
  done
done
[ "$mode" != sim ] || targets=(rakv_sim)
[ ${#chosen[@]} -gt 0 ] || {
  echo "sensitivity: error: there is no bug and no module ${wanted[*]}" >&2
  exit 2
}

build_all
rm -rf "$work/logs"
mkdir -p "$work/logs"

# A test that fails without any bug would find all of them.
if [ "$mode" = all ] && [ ${#wanted[@]} -eq 0 ]; then
  echo "sensitivity: all units without a bug"
  for program in $(find "$build" -name 'rakv_*_test' -type f | sort); do
    if bug=no_bug unit "$program"; then
      echo "sensitivity: error: $(basename "$program") fails without a planted bug: $found; see $said" >&2
      exit 1
    fi
  done
fi

echo "sensitivity: ${#chosen[@]} bugs, $jobs at a time"
[ "$mode" != sim ] || export RAKV_ONLY_SIM=1
printf '%s\n' "${chosen[@]}" |
  xargs -P "$jobs" -n 1 scripts/sensitivity.sh --try "--seeds=$seeds" "--runs=$runs" |
  tee >(sed 's/|/ | /g' >&2) >"$work/found"

{
  echo "| bug | module | what is wrong | found by |"
  echo "|---|---|---|---|"
  sort "$work/found" | while IFS='|' read -r bug module kind found; do
    case $kind in
      own | unit | crash) found="\`$found\`" ;;
      equivalent) found="nothing: $found" ;;
    esac
    echo "| \`$bug\` | \`$module\` | $(field "$bug" What) | $found |"
  done
  if [ "$mode" = all ]; then
    echo
    echo "| module | bugs | units of the module | all units | anything |"
    echo "|---|---|---|---|---|"
    awk -F'|' '
      { all[$2]++; own[$2] += $3 == "own"; unit[$2] += $3 == "own" || $3 == "unit"
        any[$2] += $3 != "none" && $3 != "equivalent" }
      END { for (m in all) printf "| `%s` | %d | %d | %d | %d |\n", m, all[m], own[m], unit[m], any[m] }' "$work/found" | sort
    awk -F'|' '
      { own += $3 == "own"; unit += $3 == "own" || $3 == "unit"; any += $3 != "none" && $3 != "equivalent" }
      END { printf "| all | %d | %d | %d | %d |\n", NR, own, unit, any }' "$work/found"
  fi
} >"$work/table.md"
cat "$work/table.md"
survivors=$(awk -F'|' '$3 == "none" {print $1}' "$work/found" | sort)
echo "sensitivity: $(wc -l <"$work/found") bugs in $SECONDS s; the table is build/sensitivity/table.md"
[ "$mode" = all ] || exit 0
[ -z "$survivors" ] || {
  echo "sensitivity: found by nothing, and no patch says why: ${survivors//$'\n'/, }" >&2
  exit 1
}
