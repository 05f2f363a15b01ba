#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmark programs that `scripts/build.sh bench` made, one after the other.
#
#   usage: scripts/bench.sh [ARGUMENT of the programs...]      e.g. --benchmark_filter=append
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t programs < <(find build/bench -type f -executable -name '*_bench' 2>/dev/null | sort)
if [ ${#programs[@]} -eq 0 ]; then
  echo "bench: error: no benchmark program below build/bench: run scripts/build.sh bench" >&2
  exit 1
fi
for program in "${programs[@]}"; do
  echo "bench: $(basename "$program")"
  "$program" "$@"
done
