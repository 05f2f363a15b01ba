#!/usr/bin/env bash
# Reads the sources with every tool that has an opinion; any warning makes it fail.
#
#   usage: scripts/lint.sh [--quick] [FOLDER...]        default: the whole repository
#
# --quick leaves out what has to compile: only format and shellcheck.
# What is read: format (clang-format), headers that compile alone (g++), clang-tidy (.clang-tidy), scripts (shellcheck).
# Needs a configured debug preset for the compile commands: scripts/build.sh --configure debug.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
if [ "${1:-}" = --quick ]; then
  quick=1
  shift
fi
folders=("$@")
jobs=${JOBS:-$(nproc)}
failed=()

for folder in "${folders[@]}"; do
  [ -d "$folder" ] || {
    echo "lint: error: there is no folder $folder" >&2
    exit 1
  }
done

# Files below the folders asked for, tracked or about to be, by pattern.
files() { git ls-files -co --exclude-standard -- "$@" | sort; }
patterns() {
  local suffix=$1 folder
  [ ${#folders[@]} -gt 0 ] || printf '%s\n' "*.$suffix"
  for folder in "${folders[@]}"; do printf '%s\n' "${folder%/}/*.$suffix"; done
}
mapfile -t header_patterns < <(patterns h)
mapfile -t source_patterns < <(patterns cc)
mapfile -t script_patterns < <(patterns sh)
mapfile -t headers < <(files "${header_patterns[@]}")
mapfile -t sources < <(files "${source_patterns[@]}")
mapfile -t scripts < <(files "${script_patterns[@]}")
[ ${#folders[@]} -gt 0 ] || scripts+=(.ci/run)

check() {
  local name=$1 start=$SECONDS
  shift
  if "$@"; then
    echo "lint: $name: ok ($((SECONDS - start)) s)"
  else
    echo "lint: $name: FAILED" >&2
    failed+=("$name")
  fi
}

check_format() { printf '%s\0' "${sources[@]}" "${headers[@]}" | xargs -0 clang-format --dry-run -Werror; }

check_header() {
  printf '#include "%s"\n' "$1" | g++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Werror -I. \
    -x c++ - || {
    echo "lint: $1 does not compile alone" >&2
    return 1
  }
}
export -f check_header
# shellcheck disable=SC2016 # expanded by the inner shell
check_headers() { printf '%s\0' "${headers[@]}" | xargs -0 -P "$jobs" -I '{}' bash -c 'check_header "$1"' _ '{}'; }

# One source; what it says comes out in one piece, and nothing when all is well.
tidy_one() {
  local output
  output=$(clang-tidy -p build/debug --quiet "$1" 2>&1) && return 0
  printf '%s\n' "$output" | grep -vE '^[0-9]+ warnings? (generated|treated)'
  return 1
}
export -f tidy_one

# Only what the debug preset compiles: fuzz targets and benchmarks have presets of their own.
check_tidy() {
  local compiled=build/debug/compile_commands.json source chosen=()
  [ -r "$compiled" ] || {
    echo "lint: $compiled is missing: run scripts/build.sh --configure debug" >&2
    return 1
  }
  for source in "${sources[@]}"; do
    if grep -qF "\"$PWD/$source\"" "$compiled"; then chosen+=("$source"); fi
  done
  [ ${#chosen[@]} -gt 0 ] || {
    echo "lint: none of the ${#sources[@]} sources is in $compiled: configure again" >&2
    return 1
  }
  # shellcheck disable=SC2016 # expanded by the inner shell
  printf '%s\0' "${chosen[@]}" | xargs -0 -P "$jobs" -I '{}' bash -c 'tidy_one "$1"' _ '{}'
}

if [ ${#sources[@]} -gt 0 ]; then check format check_format; fi
if [ -z "$quick" ] && [ ${#headers[@]} -gt 0 ]; then check "headers alone" check_headers; fi
if [ ${#scripts[@]} -gt 0 ]; then check shellcheck shellcheck -x "${scripts[@]}"; fi
if [ -z "$quick" ] && [ ${#sources[@]} -gt 0 ]; then check clang-tidy check_tidy; fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "lint: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "lint: ${#sources[@]} sources, ${#headers[@]} headers and ${#scripts[@]} scripts are clean"
