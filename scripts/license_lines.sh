#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every source, script and build file says its licence in its first line, or right after `#!` and `%%!`.
#
#   usage: scripts/license_lines.sh           names the files without that line, and fails if there are any
#          scripts/license_lines.sh --add     gives it to them
set -euo pipefail
cd "$(dirname "$0")/.."

readonly text='SPDX-License-Identifier: Apache-2.0'
readonly patterns=(
  '*.cc' '*.h' '*.c' '*.java' '*.sh' '.ci/run' '*.exs' Makefile CMakeLists.txt '*/CMakeLists.txt' '*.cmake' '*.py' '*.awk'
  '*.yml' '*.yaml' '*.dot' .editorconfig .clang-format .clang-tidy '*/.clang-tidy' '*.erl' '*.escript' '*.app.src'
  rebar.config '*/rebar.config'
)

line_of() {
  case $1 in
    *.cc | *.h | *.java | *.dot) echo "// $text" ;;
    *.c) echo "/* $text */" ;;
    *.erl | *.escript | *.app.src | *.config) echo "%% $text" ;;
    *) echo "# $text" ;;
  esac
}

# Those of the files that lack the line, in whatever comment.
without_line() {
  awk -v text="$text" '
    function tell() { if (file != "" && !found) print file }
    FNR == 1 { tell(); file = FILENAME; found = 0; at_head = 1 }
    at_head && index($0, text) { found = 1 }
    !/^(#!|%%!)/ { at_head = 0 }
    END { tell() }' "$@"
}

add_line() {
  local whole
  whole=$(
    awk -v line="$(line_of "$1")" '!done && !/^(#!|%%!)/ {print line; done = 1} {print}' "$1"
    echo .
  )
  printf '%s' "${whole%.}" >"$1" # the file stays, with its mode
}

mapfile -t files < <(git ls-files -co --exclude-standard -- "${patterns[@]}" | xargs -d '\n' -r ls -d 2>/dev/null)
mapfile -t lacking < <(without_line "${files[@]}")
[ ${#lacking[@]} -gt 0 ] || exit 0
for file in "${lacking[@]}"; do
  if [ "${1:-}" = --add ]; then
    add_line "$file"
  else
    echo "license_lines: $file: the first line should be \"$(line_of "$file")\" (scripts/license_lines.sh --add)" >&2
  fi
done
[ "${1:-}" = --add ]
