#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes docs/pictures/NAME.svg of docs/pictures/NAME.txt; scripts/picture.awk has the language of the texts.
#
#   usage: scripts/pictures.sh            makes them all
#          scripts/pictures.sh --check    fails if one of them is not what its text makes
set -euo pipefail
cd "$(dirname "$0")/.."

bad=0
for text in docs/pictures/*.txt; do
  picture=${text%.txt}.svg
  made=$(awk -f scripts/picture.awk "$text")
  if [ "${1:-}" != --check ]; then
    printf '%s\n' "$made" >"$picture"
  elif [ ! -e "$picture" ] || [ "$made" != "$(<"$picture")" ]; then
    echo "pictures: $picture is not what $text makes: scripts/pictures.sh" >&2
    bad=1
  fi
done
exit "$bad"
