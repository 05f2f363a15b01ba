#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what `scripts/build.sh release rakv` built: PREFIX/bin/rakv without debug information, which goes to
# PREFIX/bin/.debug/rakv.debug, where gdb looks for it, and README and licence to PREFIX/share/doc/rakv.
#
#   usage: scripts/install.sh PREFIX        with DESTDIR in the environment, below that folder
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:?usage: scripts/install.sh PREFIX}
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
readonly program=build/release/rakv
readonly bin=${DESTDIR:-}$prefix/bin

[ -x "$program" ] || {
  echo "install: error: there is no $program: run make build" >&2
  exit 1
}
DESTDIR=${DESTDIR:-} cmake --install build/release --prefix "$prefix" --strip >/dev/null || {
  echo "install: error: could not write below ${DESTDIR:-}$prefix: choose another PREFIX, or use sudo" >&2
  exit 1
}
mkdir -p "$bin/.debug"
objcopy --only-keep-debug --compress-debug-sections "$program" "$bin/.debug/rakv.debug"
(cd "$bin/.debug" && objcopy --add-gnu-debuglink=rakv.debug ../rakv)
echo "install: $bin/rakv ($(stat -c %s "$bin/rakv") bytes); its debug information: $bin/.debug/rakv.debug"
