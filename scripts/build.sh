#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configures and builds one CMake preset.
#
#   usage: scripts/build.sh PRESET [TARGET...]       build, all targets or those named
#          scripts/build.sh --configure PRESET       only configure
#
# The program is put at build/PRESET/rakv. JOBS says how many compilers run at once (default: one per core).
set -euo pipefail
cd "$(dirname "$0")/.."

configure_only=
if [ "${1:-}" = --configure ]; then
  configure_only=1
  shift
fi
preset=${1:?usage: scripts/build.sh [--configure] PRESET [TARGET...]}
shift
jobs=${JOBS:-$(nproc)}

echo "build: configuring preset $preset"
mkdir -p "build/$preset"
cmake --preset "$preset" >"build/$preset/configure.log" 2>&1 || {
  cat "build/$preset/configure.log" >&2
  echo "build: error: cmake could not configure preset $preset (is everything installed? scripts/setup.sh)" >&2
  exit 1
}
[ -z "$configure_only" ] || exit 0
echo "build: building preset $preset with $jobs jobs${*:+: $*}"
cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}
