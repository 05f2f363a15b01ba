#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Instructions that one member of a cluster of one spends on a put and on a get, counted by callgrind: how busy the machine
# is does not matter. The kernel's are not counted. What start, warm-up and ticks take falls out: each figure is the
# difference between a long and a short run, divided by the operations between them.
#   usage: bench_instructions.sh        needs build/release/rakv (or RAKV_BINARY), build/bench's kv_driver and valgrind
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/bench_nodes.sh
. scripts/bench_nodes.sh

command -v valgrind >/dev/null || {
  echo "bench_instructions.sh: error: there is no valgrind here: install Debian's package of that name" >&2
  exit 1
}
counted=$(realpath "${RAKV_BINARY:-build/release/rakv}")
cat >"$work/counted" <<END
#!/bin/sh
exec valgrind -q --tool=callgrind --callgrind-out-file=$work/counts "$counted" "\$@"
END
chmod +x "$work/counted"
RAKV_BINARY=$work/counted start_rakv rakv --bootstrap kv
ready_seconds=300 await_ready rakv

# Instructions of the member since it was asked last.
instructions_since() {
  local dump
  callgrind_control -d "${pid[rakv]}" >"$work/control" 2>&1 || {
    cat "$work/control" >&2
    exit 1
  }
  dump=$(find "$work" -name 'counts.[0-9]*' -printf '%T@ %p\n' | sort -n | tail -1 | cut -d ' ' -f 2)
  sed -nE 's/^(summary|totals): ([0-9]+).*/\2/p' "$dump" | tail -1
}

# instructions_of FIGURE ROUNDS: all of a run of the driver.
instructions_of() {
  instructions_since >/dev/null
  build/bench/tests/bench/kv_driver --cookie "$cookie" --figures "$1" --rounds "$2" \
    "rakv=kv@${node[rakv]}:${pid[rakv]}" >"$work/driver" || {
    cat "$work/driver" >&2
    exit 1
  }
  instructions_since
}

# show FIGURE NAME OPERATIONS LONG: OPERATIONS are those of one round, LONG the rounds of the long run.
show() {
  local short long
  short=$(instructions_of "$1" 1)
  long=$(instructions_of "$1" "$4")
  printf '%-30s %9d\n' "$2" $(((long - short) / ($3 * ($4 - 1))))
}

echo "instructions of a member for one operation"
show put_latency "put, one caller" 2000 6
show put_64 "put, 64 callers" 60000 2
show get_1 "get, one caller" 5000 3
show get_64 "get, 64 callers" 60000 2
