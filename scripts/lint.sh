#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Reads the sources with every tool that has an opinion; any warning makes it fail.
#
#   usage: scripts/lint.sh [--quick] [FOLDER...]        default: the whole repository
#          scripts/lint.sh --deep [FOLDER...]           only what takes hours: clang-tidy for each source by itself
#
# --quick leaves out what has to compile: format, includes, shellcheck and what is said of documents remain.
# --deep runs the checks that clang-tidy 14 makes for the file that it is given, not for those that this one includes, and
# that the large sources of clang-tidy below therefore miss: the path-sensitive part of clang-analyzer-*,
# misc-unused-using-decls, and bugprone-suspicious-include. Hours for everything, so give it the folder that changed.
# What is read: format (clang-format), includes (only of modules that the table in docs/architecture.md allows), names of
# classes (each once) and functions that nobody calls (both in the whole repository only), headers that compile alone (all
# of them, whatever folder), clang-tidy (.clang-tidy), scripts (shellcheck), licence lines, the version (one everywhere),
# the bugs of tests/sensitivity (each can still be planted), the commands of transcripts (each has an example), pictures
# (made anew from their texts they are the same), and citations: documents and sections of docs/protocol that files
# name, and the links of documents, are there.
# Configures the presets that it needs: debug, and lint-deep for --deep.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
deep=
case ${1:-} in
  --quick) quick=1 && shift ;;
  --deep) deep=1 && shift ;;
esac
folders=("$@")
jobs=${JOBS:-$(nproc)}
failed=()
output=$(mktemp)
trap 'rm -f "$output"' EXIT

for folder in "${folders[@]}"; do
  [ -d "$folder" ] || {
    echo "lint: error: there is no folder $folder" >&2
    exit 1
  }
done

# Files below the folders asked for, tracked or about to be, by pattern.
files() { git ls-files -co --exclude-standard -- "$@" | sort; }
patterns() {
  local suffix=$1 folder
  [ ${#folders[@]} -gt 0 ] || printf '%s\n' "*.$suffix"
  for folder in "${folders[@]}"; do printf '%s\n' "${folder%/}/*.$suffix"; done
}
mapfile -t header_patterns < <(patterns h)
mapfile -t source_patterns < <(patterns cc)
mapfile -t script_patterns < <(patterns sh)
mapfile -t headers < <(files "${header_patterns[@]}")
mapfile -t sources < <(files "${source_patterns[@]}")
mapfile -t scripts < <(files "${script_patterns[@]}")
[ ${#folders[@]} -gt 0 ] || scripts+=(.ci/run)

check() {
  local name=$1 start=$SECONDS
  shift
  if "$@"; then
    echo "lint: $name: ok ($((SECONDS - start)) s)"
  else
    echo "lint: $name: FAILED" >&2
    failed+=("$name")
  fi
}

check_format() { printf '%s\0' "${sources[@]}" "${headers[@]}" | xargs -0 clang-format --dry-run -Werror; }

# Each header as a source of its own, by CMake's header sets.
check_headers() {
  scripts/build.sh --configure debug || return 1
  cmake --build build/debug -j "$jobs" --target all_verify_interface_header_sets >"$output" || show_output
}

# What paths below the folders asked for begin with, as a regular expression.
within_folders() {
  local chosen=("${folders[@]%/}")
  printf '%s/(%s)/' "$PWD" "$(IFS='|' && echo "${chosen[*]:-cnode|raft|kv|tests}")"
}

# The debug preset makes few large sources of each target's, so that the headers of Boost and of the standard library
# are read once for many of them. Those with a source of the folders are read, and what is found in the folders counts. Only
# what this preset compiles: fuzz targets and benchmarks have presets of their own. What this misses is for --deep.
check_tidy() {
  local within large=()
  scripts/build.sh --configure debug || return 1
  within=$(within_folders)
  mapfile -t large < <(grep -rlE --include='*.cxx' "^#include \"$within" build/debug | grep /Unity/)
  [ ${#large[@]} -gt 0 ] || return 0
  # That they include sources is what they are for.
  run-clang-tidy -p build/debug -quiet -j "$jobs" -checks=-bugprone-suspicious-include -header-filter="^$within" \
    "${large[@]}" >"$output" 2>&1 || show_output
}

check_deep() {
  local within
  scripts/build.sh --configure lint-deep || return 1
  within=$(within_folders)
  run-clang-tidy -p build/lint-deep -quiet -j "$jobs" -header-filter="^$within" \
    -checks='-*,clang-analyzer-*,misc-unused-using-decls,bugprone-suspicious-include' "^$within" \
    >"$output" 2>&1 || show_output
}

show_output() {
  grep -vE '^clang-tidy |^[0-9]+ warnings? (generated|treated)|^\[[0-9]+/[0-9]+\] ' "$output"
  return 1
}

# Citations that lead nowhere, FILE:LINE: and what is wrong. `known` are the documents, each alone and with each number
# of its sections. In docs/protocol every N.N that is not code is a section: of the file itself, or of the one before it.
find_bad_citations() {
  local known
  known=$(
    files 'docs/*.md'
    grep -HoE '^(#+ |\*\*)[0-9]+(\.[0-9]+)*' docs/protocol/*.md | sed -E 's/:(#+ |\*\*)/ /'
  )
  awk -v known="$known" '
    BEGIN {
      count = split(known, lines, "\n")
      for (i = 1; i <= count; i++) is_there[lines[i]] = 1
    }
    function complain(what) { print FILENAME ":" FNR ": " what }
    # `cited`: a path, and perhaps numbers of sections.
    function look_up(cited, words, count, i) {
      count = split(cited, words, /,? (and |to )?/)
      if (!(words[1] in is_there)) return complain("there is no " words[1])
      for (i = 2; i <= count; i++) {
        if (!(words[1] " " words[i] in is_there)) complain(words[1] " has no section " words[i])
      }
    }
    {
      if ($0 ~ /ra[-]wire|erlang[-]dist([^a-z]|$)|ra[-]disk/) complain("cites what is not in this repository")
      rest = $0
      while (match(rest, /docs\/[A-Za-z0-9_.\/-]*\.md( [0-9]+(\.[0-9]+)*((,| and| to) [0-9]+(\.[0-9]+)*)*)?/)) {
        before = RSTART == 1 ? "" : substr(rest, RSTART - 1, 1)
        cited = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        if (before !~ /[A-Za-z0-9_.\/-]/) look_up(cited) # else a part of a longer path
      }
    }
    FILENAME ~ /^docs\/protocol\// {
      rest = $0
      gsub(/`[^`]*`/, "", rest)
      while (match(rest, /(wire|distribution|disk)\.md [0-9]+(\.[0-9]+)*/)) {
        look_up("docs/protocol/" substr(rest, RSTART, RLENGTH))
        rest = substr(rest, 1, RSTART - 1) substr(rest, RSTART + RLENGTH)
      }
      while (match(rest, /(section |[0-9]+\.)[0-9]+(\.[0-9]+)*/)) {
        cited = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        sub(/section /, "", cited)
        if (split(cited, parts, ".") < 3) look_up(FILENAME " " cited) # else a version
      }
    }' "$@"
}

# Names of the headings of a document, as links have them.
anchors() { sed -nE 's/^#+ //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'; }

# shellcheck disable=SC2016 # backticks of Markdown
find_bad_links() {
  local document line link target path
  for document in "$@"; do
    while IFS=: read -r line link; do
      target=${link#](}
      target=${target%)}
      case $target in *://* | mailto:*) continue ;; esac
      path=$document
      [ -z "${target%%#*}" ] || path=$(dirname "$document")/${target%%#*}
      if [ ! -e "$path" ]; then
        echo "$document:$line: the link $target leads nowhere"
      elif [[ $target == *#* ]] && ! anchors "$path" | grep -qxF "${target#*#}"; then
        echo "$document:$line: the link $target leads to no heading"
      fi
    done < <(sed 's/`[^`]*`//g' "$document" | grep -noE '\]\([^)]*\)')
  done
}

# In the tables of docs/architecture.md each row "| 1 | ... | `FILE` | `FUNCTION` | ..." names a function that is in the file.
# shellcheck disable=SC2016 # backticks of Markdown
check_walk() {
  local file function name bad=0
  while IFS='|' read -r file function; do
    name=${function%)}
    [[ $name == *\(* ]] || name+='('
    [ -f "$file" ] && grep -qF -- "$name" "$file" && continue
    echo "lint: docs/architecture.md: there is no $function in $file" >&2
    bad=1
  done < <(sed -nE 's/^\| [0-9]+ \|[^|]*\| `([^`]*)` \| `([^`]*)` \|.*/\1|\2/p' docs/architecture.md)
  return "$bad"
}

check_citations() {
  local found=() documents=() texts=() file
  mapfile -t texts < <(files "${folders[@]}" | tr '\n' '\0' | xargs -0 -r grep -Ils -d skip '')
  [ ${#texts[@]} -gt 0 ] || return 0
  for file in "${texts[@]}"; do
    case $file in *.md) documents+=("$file") ;; esac
  done
  mapfile -t found < <(
    find_bad_citations "${texts[@]}"
    find_bad_links "${documents[@]}"
  )
  [ ${#found[@]} -eq 0 ] || {
    printf 'lint: %s\n' "${found[@]}" >&2
    return 1
  }
}

# The version is that of CMakeLists.txt, wherever else it stands.
check_version() {
  local version file found wrong=0
  version=$(sed -nE 's/^project\(rakv VERSION ([0-9.]+) .*/\1/p' CMakeLists.txt)
  while read -r file; do
    found=$(sed -nE 's/.*\{vsn, "([^"]*)"\}.*/\1/p' "$file")
    [ "$found" = "$version" ] && continue
    echo "lint: $file has version ${found:-none}, CMakeLists.txt ${version:-none}" >&2
    wrong=1
  done < <(files '*.app.src')
  found=$(sed -nE 's/^## v([0-9.]+).*/\1/p' CHANGELOG.md | head -1)
  [ "$found" = "$version" ] || {
    echo "lint: the first entry of CHANGELOG.md is ${found:-none}, the version of CMakeLists.txt ${version:-none}" >&2
    wrong=1
  }
  return "$wrong"
}

# docs/transcripts.md has an example of every command that a transcript can have.
check_transcripts() {
  local word bad=0
  while read -r word; do
    grep -qE "> ([a-z]: )?${word}[ \`]" docs/transcripts.md && continue
    echo "lint: docs/transcripts.md has no example of the command $word" >&2
    bad=1
  done < <(grep -oE '\bword(s\[0\])? == "[a-z_]+"' tests/raft/core/transcript_test.cc | grep -oE '[a-z_]+"$' | tr -d '"' | sort -u)
  return "$bad"
}

# A module includes what the table in docs/architecture.md lets it use: "| `raft/wire` | `cnode/base` `raft/core` | ...".
check_includes() {
  awk '
    # The module whose folder is the longest one that the path begins with.
    function module_of(path, best, name) {
      best = ""
      for (name in is_module) if (index(path, name "/") == 1 && length(name) > length(best)) best = name
      return best
    }
    FILENAME ~ /\.md$/ {
      if ($0 !~ /^\| `(cnode|raft|kv)[a-z\/]*` \|/) next
      split($0, cells, "|")
      gsub(/[` ]/, "", cells[2])
      is_module[cells[2]] = 1
      if (cells[3] ~ /all above/) for (name in is_module) may[cells[2], name] = 1
      count = split(cells[3], names, "`")
      for (i = 2; i <= count; i += 2) may[cells[2], names[i]] = 1
      next
    }
    FNR == 1 { user = module_of(FILENAME) }
    /^#include "/ {
      split($0, parts, "\"")
      used = module_of(parts[2])
      if (user != "" && parts[2] ~ /^tests\//) {
        print "lint: " FILENAME ":" FNR ": " user " may not use what is there for tests" > "/dev/stderr"
        bad = 1
      }
      if (user == "" || used == "" || user == used || (user, used) in may) next
      print "lint: " FILENAME ":" FNR ": " user " may not use " used " (the table in docs/architecture.md)" > "/dev/stderr"
      bad = 1
    }
    END { exit bad }' docs/architecture.md "$@"
}

# Each class of the program has a name of its own, so that a name says which one is meant.
check_class_names() {
  awk '
    FILENAME !~ /^(cnode|raft|kv)\// { next }
    /^(class|struct|enum class) [A-Z]/ && (/\{/ || !/;$/) { # else it is only announced
      name = $1 == "enum" ? $3 : $2
      sub(/[^A-Za-z0-9_:].*|:$/, "", name)
      if (name in place) {
        print "lint: " FILENAME ":" FNR ": " name " is also a class of " place[name] > "/dev/stderr"
        bad = 1
      }
      place[name] = FILENAME
    }
    END { exit bad }' "$@"
}

# What a header of cnode or raft declares is called somewhere, be it by a test. A name counts, whatever it belongs to, so
# this finds the sure cases only.
check_calls() {
  awk '
    {
      sub(/\/\/.*/, "")
      if ($0 !~ /[A-Za-z_]/) next
      product = FILENAME !~ /^tests\//
      in_header = FILENAME ~ /^(cnode|raft)\/.*\.h$/
      # A function is defined where a line begins with it, in a source.
      is_definition = product && FILENAME ~ /\.cc$/ && /^[A-Za-z]/ && !/[;=].*\(/
      rest = $0
      while (match(rest, /[A-Za-z_][A-Za-z0-9_]*/)) {
        name = substr(rest, RSTART, RLENGTH)
        before = RSTART == 1 ? "" : substr(rest, RSTART - 1, 1)
        rest = substr(rest, RSTART + RLENGTH)
        uses[name]++
        if (substr(rest, 1, 1) != "(") continue
        if (is_definition) uses[name]--
        is_definition = 0 # what follows on the line is its body
        if (in_header && before !~ /[.>:]/ && !(name in place)) place[name] = FILENAME ":" FNR
      }
    }
    END {
      for (name in place) {
        if (uses[name] > 1) continue
        print "lint: " place[name] ": " name "() is called nowhere" > "/dev/stderr"
        bad = 1
      }
      exit bad
    }' "$@"
}

if [ -n "$deep" ]; then
  check "clang-tidy, source by source" check_deep
  [ ${#failed[@]} -eq 0 ] || exit 1
  exit 0
fi
if [ ${#sources[@]} -gt 0 ]; then check format check_format; fi
if [ ${#sources[@]} -gt 0 ]; then check includes check_includes "${sources[@]}" "${headers[@]}"; fi
if [ ${#folders[@]} -eq 0 ]; then
  check "class names" check_class_names "${headers[@]}"
  check calls check_calls "${sources[@]}" "${headers[@]}"
fi
if [ -z "$quick" ] && [ ${#headers[@]} -gt 0 ]; then check "headers alone" check_headers; fi
if [ ${#scripts[@]} -gt 0 ]; then check shellcheck shellcheck -x "${scripts[@]}"; fi
check "planted bugs" scripts/sensitivity.sh --check
check "licence lines" scripts/license_lines.sh
check version check_version
check "commands of transcripts" check_transcripts
check pictures scripts/pictures.sh --check
check "walks through the code" check_walk
check citations check_citations
if [ -z "$quick" ] && [ ${#sources[@]} -gt 0 ]; then check clang-tidy check_tidy; fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "lint: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "lint: ${#sources[@]} sources, ${#headers[@]} headers and ${#scripts[@]} scripts are clean"
