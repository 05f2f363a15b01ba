#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a folder with Erlang/OTP 29, ra 3.1.10 and rebar3 for the tests, out of Debian's own packages of a newer suite.
#
#   usage: scripts/otp29.sh DIR        then: DIR/bin/erl, DIR/bin/erlc, DIR/bin/escript, DIR/bin/rebar3
#
# ra 3.x needs a newer OTP than the one of the stable release. So that the system stays as it is, the packages are
# only unpacked, never installed: programs get the loader and the libraries that came with them, and what DIR/bin
# starts finds ra in ERL_LIBS. Nothing outside DIR is changed, and no root is needed once patchelf is there.
#
# Runs again without doing anything while DIR is complete and was made by this version of the script.
#   RAKV_OTP_SUITES   Debian suites to try, in this order (default: "forky sid")
set -euo pipefail

readonly version=1
readonly otp_release=29
readonly ra_version=3.1.10
readonly attempts=4
read -r -a suites <<<"${RAKV_OTP_SUITES:-forky sid}"

# What the tests load from OTP, what holds ra and rebar3, and the libraries all of it is linked with.
readonly packages=(
  erlang-base erlang-dev erlang-asn1 erlang-common-test erlang-crypto erlang-dialyzer erlang-eunit erlang-inets
  erlang-os-mon erlang-parsetools erlang-public-key erlang-runtime-tools erlang-ssl erlang-syntax-tools erlang-tools
  erlang-xmerl rebar3 rabbitmq-server libjs-jquery libjs-jquery-tablesorter
  libc6 libcap2 libgcc-s1 libsctp1 libssl3t64 libstdc++6 libsystemd0 libtinfo6 libzstd1 zlib1g
)
# The applications taken out of rabbitmq-server.
readonly ra_applications=(ra aten gen_batch_server seshat)

say() { printf 'otp29: %s\n' "$*"; }
die() {
  printf 'otp29: error: %s\n' "$*" >&2
  exit 1
}

# retry COMMAND...: again after a failure, waiting longer each time.
retry() {
  local attempt
  for ((attempt = 1; attempt <= attempts; attempt++)); do
    "$@" && return 0
    ((attempt == attempts)) && break
    say "attempt $attempt of $attempts failed; again in $((attempt * 5)) s" >&2
    sleep $((attempt * 5))
  done
  return 1
}

# Where this machine gets its Debian packages from, as its own apt is configured.
debian_mirror() {
  apt-get indextargets --format "\$(SITE)" 'Created-By: Packages' | grep -m1 -E '/debian/?$' || true
}

# fetch SUITE: the packages into $work/debs, with lists and sources of our own beside the system's.
fetch() {
  local suite=$1 mirror
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || die "apt has no Debian source configured (this needs Debian; see /etc/apt/sources.list.d)"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
  local options=(
    -q -oDir::State::Lists="$work/lists" -oDir::Cache="$work/cache" -oDir::Etc::SourceList="$work/sources.list"
    -oDir::Etc::SourceParts=/dev/null -oAPT::Sandbox::User="$(id -un)" -oAcquire::Check-Valid-Until=false
    -oAcquire::Retries=3 -oAcquire::Languages=none
  )
  say "reading the package lists of Debian $suite"
  retry apt-get "${options[@]}" -oAPT::Update::Error-Mode=any update >"$work/log" 2>&1 || {
    tail -5 "$work/log" >&2
    return 1
  }
  say "downloading ${#packages[@]} packages"
  (cd "$work/debs" && retry apt-get "${options[@]}" download "${packages[@]/%//$suite}") >"$work/log" 2>&1 || {
    tail -5 "$work/log" >&2
    return 1
  }
}

is_elf() { [ "$(head -c4 "$1" | tr -d '\0')" = $'\x7fELF' ]; }

# Makes programs and libraries under $root use the libraries of $root only.
patch_binaries() {
  local lib=$1 loader file
  loader=$(basename "$(patchelf --print-interpreter "$(echo "$root"/usr/lib/erlang/erts-*/bin/beam.smp)")")
  while read -r file; do
    is_elf "$file" || continue
    if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
      patchelf --set-interpreter "$lib/$loader" --force-rpath --set-rpath "$lib" "$file"
    elif [[ $file == *.so ]]; then
      patchelf --force-rpath --set-rpath "$lib" "$file"
    fi
  done < <(find "$root/usr/lib/erlang" -type f)
  for file in "$lib"/libcrypto.so.3 "$lib"/libssl.so.3; do
    patchelf --force-rpath --set-rpath "$lib" "$file"
  done
}

# The start scripts fall back on the system's Erlang; nodes started by `peer` go through the one of erts-*/bin.
fix_start_scripts() {
  sed -i "s#ROOTDIR=/usr/lib/erlang#ROOTDIR=$root/usr/lib/erlang#" \
    "$root"/usr/lib/erlang/bin/erl "$root"/usr/lib/erlang/erts-*/bin/erl
}

# Moves ra and what it needs to DIR/lib and drops the rest of its package.
keep_ra() {
  local application found
  mkdir -p "$prefix/lib"
  for application in "${ra_applications[@]}"; do
    found=$(echo "$root"/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/"$application"-[0-9]*)
    [ -d "$found" ] || die "package rabbitmq-server has no application $application"
    mv "$found" "$prefix/lib/"
  done
  rm -rf "$root/usr/lib/rabbitmq" "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"
}

# DIR/bin/PROGRAM for every program the tests use.
write_wrappers() {
  local program target
  mkdir -p "$prefix/bin"
  for program in erl erlc escript ct_run epmd dialyzer rebar3; do
    target=$root/usr/lib/erlang/bin/$program
    [ "$program" = rebar3 ] && target="$root/usr/lib/erlang/bin/escript $root/usr/bin/rebar3"
    cat >"$prefix/bin/$program" <<WRAPPER
#!/bin/sh
export ERL_LIBS="$prefix/lib\${ERL_LIBS:+:\$ERL_LIBS}" PATH="$prefix/bin:\$PATH"
exec $target "\$@"
WRAPPER
    chmod +x "$prefix/bin/$program"
  done
}

# What the finished folder holds, as "OTP release, ra version".
installed_versions() {
  "$prefix/bin/erl" -noshell -eval '
    ok = application:load(ra), {ok, Ra} = application:get_key(ra, vsn),
    true = is_list(crypto:supports()), {module, ra_kv} = code:ensure_loaded(ra_kv),
    io:format("~s ~s~n", [erlang:system_info(otp_release), Ra]), halt().' </dev/null
}

# install SUITE: the whole folder from that suite. Ends with 1 when the suite can't give what is wanted.
install() {
  local suite=$1 deb versions
  rm -rf "${prefix:?}"/{work,root,bin,lib}
  mkdir -p "$work" "$root"
  fetch "$suite" || return 1
  say "unpacking into $prefix"
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  keep_ra
  patch_binaries "$(dirname "$(find "$root/usr/lib" -name 'libcrypto.so.3' | head -1)")"
  fix_start_scripts
  write_wrappers
  versions=$(installed_versions) || return 1
  [ "$versions" = "$otp_release $ra_version" ] || {
    say "Debian $suite has OTP and ra $versions, but the tests are for $otp_release $ra_version" >&2
    return 1
  }
  "$prefix/bin/rebar3" version </dev/null || return 1
}

[ $# -eq 1 ] || die "usage: scripts/otp29.sh DIR"
mkdir -p "$1"
prefix=$(realpath "$1")
[[ $prefix =~ ^[A-Za-z0-9/._+-]+$ ]] || die "the path $prefix has characters that Erlang's start scripts can't carry"
work=$prefix/work
root=$prefix/root
readonly stamp=$prefix/stamp
# The folder holds absolute paths, so one that was moved has to be made anew.
wanted="script $version, OTP $otp_release, ra $ra_version, at $prefix"

exec 9>"$prefix/lock"
flock 9 # two runs at once: the second waits and finds the work done
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ "$(installed_versions)" = "$otp_release $ra_version" ]; then
  say "OTP $otp_release with ra $ra_version is ready in $prefix"
  exit 0
fi
rm -f "$stamp"
for tool in apt-get dpkg-deb patchelf; do
  command -v "$tool" >/dev/null || die "$tool is missing: run scripts/setup.sh first (this needs Debian)"
done
for suite in "${suites[@]}"; do
  # A subshell of its own, not a condition: within a condition bash would go on after a failed command.
  set +e
  (set -e && install "$suite") 9>&-
  outcome=$?
  set -e
  if [ "$outcome" -eq 0 ]; then
    rm -rf "$work"
    echo "$wanted" >"$stamp"
    say "OTP $otp_release with ra $ra_version is ready in $prefix"
    exit 0
  fi
  say "Debian $suite did not work out" >&2
done
die "no suite of (${suites[*]}) gave OTP $otp_release with ra $ra_version: see above; RAKV_OTP_SUITES names others"
