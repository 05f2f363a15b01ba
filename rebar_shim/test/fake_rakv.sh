#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stands in for the rakv program in the package's own tests. What it does is in FAKE_MODE; what it was given and that
# it ended in order it writes into FAKE_DIR.
set -u
printf '%s\n' "$@" >"$FAKE_DIR/args"
echo "$$" >>"$FAKE_DIR/pids"

name=
while [ $# -gt 0 ]; do
  case $1 in
    --cookie-file) [ "$2" != - ] || IFS= read -r cookie && printf '%s\n' "${cookie:-}" >>"$FAKE_DIR/cookies" && shift ;;
    --sname) name="$2@$(hostname | cut -d. -f1)" && shift ;;
    --name) name=$2 && shift ;;
  esac
  shift
done

finish() {
  echo "2026-01-31T12:00:00.000Z info node: stopped" >&2
  echo "$1" >>"$FAKE_DIR/ended"
  exit "${FAKE_STATUS:-0}"
}

case ${FAKE_MODE:-serve} in
  refuse)
    echo "2026-01-31T12:00:00.000Z error data: directory is in use by another node" >&2
    exit 3
    ;;
  silent) ;;
  once)
    # serves the first time only
    if [ -e "$FAKE_DIR/served" ]; then
      echo "2026-01-31T12:00:00.000Z critical wal: bad disk" >&2
      exit 4
    fi
    touch "$FAKE_DIR/served"
    echo "ready $name 4711"
    ;;
  other_name) echo "ready somebody@else 4711" ;;
  *)
    echo "2026-01-31T12:00:00.000Z warning wal: slow disk: 12 ms" >&2
    echo "no level here" >&2
    [ -z "${FAKE_LONG:-}" ] || { head -c 40000 /dev/zero | tr '\0' x >&2 && echo >&2; }
    echo "ready $name 4711"
    ;;
esac

if [ "${FAKE_MODE:-}" = deaf ]; then
  trap '' TERM
else
  trap 'finish term' TERM
fi
# Until the standard input ends; a shell sees signals between reads, so the waiting is left to a child.
exec 3<&0
cat <&3 >/dev/null 2>&1 &
reader=$!
while kill -0 "$reader" 2>/dev/null; do wait "$reader"; done
finish "eof"
