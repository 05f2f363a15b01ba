#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that rakv is built and tested with. Does nothing when all of them are there.
#
#   usage: scripts/setup.sh [--build-only]
#
# --build-only leaves out what only tests, fuzzing and linting need. Uses sudo only when something is missing and
# the user is not root. Made for Debian 12 (bookworm).
set -euo pipefail

readonly build_packages=(
  g++ make cmake ninja-build ccache mold
  libboost1.81-dev libspdlog-dev libfmt-dev libcli11-dev libtomlplusplus-dev libisal-dev zlib1g-dev libssl-dev
  erlang-base # epmd, which every Erlang node is found through
)
readonly test_packages=(
  libgtest-dev libgmock-dev googletest libbenchmark-dev
  clang clang-format clang-tidy libclang-rt-14-dev
  # the OTP 25 half of the suites; OTP 29 comes from scripts/otp29.sh, which needs patchelf
  erlang-dev erlang-crypto erlang-common-test erlang-eunit erlang-parsetools erlang-runtime-tools erlang-syntax-tools
  erlang-tools rebar3 debian-archive-keyring patchelf
  iproute2 procps shellcheck
  faketime # nodes whose wall clocks jump
  # peers of other languages
  elixir erlang-jinterface openjdk-17-jdk-headless
)

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}

is_installed() { [ "$(dpkg-query -W -f "\${db:Status-Status}" "$1" 2>/dev/null)" = installed ]; }

# Which Debian this is; the library versions (Boost 1.81, clang 14) are those of bookworm.
check_system() {
  local id=unknown codename=unknown
  if [ -r /etc/os-release ]; then
    id=$(. /etc/os-release && echo "${ID:-unknown}")
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
  fi
  [ "$id $codename" = "debian bookworm" ] && return 0
  die "this is $id $codename, and packages are installed by name for Debian 12 (bookworm) only.
  Use a bookworm machine or container, or install the counterparts of these yourself and start again with
  RAKV_SKIP_SETUP=1: ${wanted[*]}"
}

# Debian lets only one version of Boost's headers be installed; we don't remove anybody's.
check_boost() {
  local other
  is_installed libboost1.81-dev && return 0
  other=$(dpkg-query -W -f "\${Package} \${db:Status-Status}\n" 'libboost1.*-dev' 2>/dev/null |
    awk '$2 == "installed" && $1 ~ /^libboost1\.[0-9]+-dev$/ {print $1; exit}' || true)
  [ -z "$other" ] || die "rakv is built with libboost1.81-dev, which Debian does not let stand beside $other.
  If nothing else here needs $other, remove it (apt-get remove $other) and start again."
}

install_missing() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      die "these packages are missing, and there is neither root nor sudo to install them with: $*"
    as_root=(sudo)
  fi
  say "installing $# missing packages: $*"
  "${as_root[@]}" apt-get -q -oAcquire::Retries=3 update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -oAcquire::Retries=3 -oDPkg::Lock::Timeout=120 --no-install-recommends \
    --no-remove install "$@" || die "apt-get could not install all of: $*"
}

case "${1:-}" in
  '') wanted=("${build_packages[@]}" "${test_packages[@]}") ;;
  --build-only) wanted=("${build_packages[@]}") ;;
  *) die "usage: scripts/setup.sh [--build-only]" ;;
esac
if [ -n "${RAKV_SKIP_SETUP:-}" ]; then
  say "skipped, as RAKV_SKIP_SETUP asks"
  exit 0
fi
command -v dpkg-query >/dev/null || check_system
missing=()
for package in "${wanted[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  say "all ${#wanted[@]} Debian packages are there"
  exit 0
fi
check_system
check_boost
install_missing "${missing[@]}"
for package in "${missing[@]}"; do
  is_installed "$package" || die "$package is still not installed"
done
say "all ${#wanted[@]} Debian packages are there"
