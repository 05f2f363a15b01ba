#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the rakv program at priv/rakv, where the application looks for it. rebar3 calls this before it compiles.
#
# With RAKV_BINARY set nothing is built: that program is used. With the C++ sources beside this package (a checkout of
# the repository, or a git dependency on it) the program is built with CMake; the first time takes some minutes. Where
# there are no sources, the program has to be named at run time.
set -eu

package=$(cd "$(dirname "$0")/.." && pwd)
sources=$(cd "$package/.." && pwd)
# As a git dependency the repository's top is the application; as a checkout of rebar_shim that folder is.
application=$PWD

if [ -n "${RAKV_BINARY:-}" ]; then
  echo "rakv: using the program at $RAKV_BINARY"
  exit 0
fi
if [ ! -f "$sources/CMakePresets.json" ]; then
  [ -f "$application/priv/rakv" ] ||
    echo "rakv: no C++ sources beside this package: set RAKV_BINARY, or {rakv, [{binary, Path}]}, to the program" >&2
  exit 0
fi
for tool in cmake ninja ccache g++; do
  command -v "$tool" >/dev/null || {
    echo "rakv: error: $tool is missing, so the program can't be built: run $sources/scripts/setup.sh --build-only," >&2
    echo "rakv: or set RAKV_BINARY to a program that is there" >&2
    exit 1
  }
done
(cd "$sources" && scripts/build.sh release rakv)
mkdir -p "$application/priv"
# Only when it changed, and in one step: it may be running.
if ! cmp -s "$sources/build/release/rakv" "$application/priv/rakv"; then
  cp "$sources/build/release/rakv" "$application/priv/rakv.new"
  mv "$application/priv/rakv.new" "$application/priv/rakv"
fi
