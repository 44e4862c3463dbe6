#!/bin/bash
# Runs one suite of the built tests and closes with a line of counts: suite.sh NAME [WORD...]
# WORD: only files whose path contains one. The full report is kept in .cache/test/NAME.log.
#
# Suites of whole agents run file by file, four at a time. A file that fails is run a second time, alone, since a pause of the
# machine can starve a userspace tunnel of packets that a test counts, or a timer that it waits for: what it said the first
# time is printed, and the closing lines name it. What is broken fails twice.
set -uo pipefail
cd "$(dirname "$0")/../.."
name=${1:?suite}
shift
began=$(date +%s)

mapfile -t files < <(find "dist/test/$name" -name '*.test.js' 2>/dev/null | sort)
if (($# > 0)); then
  mapfile -t files < <(printf '%s\n' "${files[@]}" | grep -F "$(printf '%s\n' "$@")")
fi
if [[ ${#files[@]} == 0 || -z ${files[0]} ]]; then
  echo "error: no test file of suite $name ${*:+contains $*}" >&2
  exit 2
fi

mkdir -p .cache/test
# Hundreds of agents and commands are started, and most of a start is compiling (Node 22 and later know this).
export NODE_COMPILE_CACHE=$PWD/.cache/compile
# Seconds for a file, where it sets no limit of its own: a slow machine is no fault.
export TAP_TIMEOUT=300
# Seconds for a run of node, whatever becomes of tap's own clock in it. An emulated guest is twenty times slower.
case $name in
  integration | vm) limit=600 ;;
  *) limit=1800 ;; # all files at once
esac
[[ -n ${LINKSPAN_GUEST-} ]] && limit=2400
log=.cache/test/$name.log
: >"$log"
passed=0
failed=0
skipped=0
again=()

reports=$(mktemp -d)
# What a test file that is killed leaves behind goes with it. Some of it is for other users to read.
chmod 711 "$reports"
export TMPDIR=$reports
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$reports"' EXIT

# below PID: the processes that it began, as a tree.
below() {
  ps -eo pid=,ppid=,stat=,wchan:24=,etimes=,args= --forest |
    awk -v root="$1" '
      { id[NR] = $1; parent[$1] = $2; line[NR] = substr($0, 1, 200) }
      END {
        for (i = 1; i <= NR; i++) {
          for (p = id[i]; p > 1 && p != root; p = parent[p]);
          if (p == root) print line[i]
        }
      }'
}

# run REPORT FILE...: one run of node. What does not end is killed with all that it began, and tells what it was doing.
run() {
  local report=$1
  local code=0
  local node watch ended
  shift
  # What isolates itself does so by a process that has to load as much as the test; this one loads nothing.
  if [[ $(id -u) == 0 ]] && grep -q 'isolated(' "$1"; then
    export LINKSPAN_TEST_FILE=$1
    set -- dist/test/support/inside.js
  fi
  timeout --kill-after 10 "$limit" node --test --test-concurrency=2 --test-reporter=spec "$@" >"$report" 2>&1 &
  node=$!
  sleep $((limit - 15)) &
  watch=$!
  # timeout(1) leads a group of its own, which the end of ours does not reach.
  trap 'kill -KILL -- "-$node" 2>/dev/null; kill "$watch" 2>/dev/null; exit 143' TERM INT
  wait -n -p ended "$node" "$watch" || code=$?
  if [[ $ended == "$watch" ]]; then
    below "$node" >"$report.ps"
    code=0
    wait "$node" || code=$?
    kill -KILL -- "-$node" 2>/dev/null # timeout(1) leads a group, and some of it may have slept through the first signal
  else
    kill "$watch"
  fi
  trap - TERM INT
  if [[ $code == 124 || $code == 137 ]]; then
    printf 'no end in %s s; what ran then:\n' "$limit" >>"$report"
    cat "$report.ps" >>"$report"
  fi
  echo "$code" >"$report.code"
}

# take REPORT: what a run came to; sets f, and adds it to the counts.
count() {
  local found
  found=$(sed -n "s/^ℹ $2 \([0-9]*\)$/\1/p" "$1" | tail -n 1)
  echo "${found:-0}"
}
take() {
  local report=$1
  cat "$report" >>"$log"
  f=$(($(count "$report" fail) + $(count "$report" cancelled)))
  if [[ $(<"$report.code") != 0 && $f == 0 ]]; then f=1; fi
  passed=$((passed + $(count "$report" pass)))
  failed=$((failed + f))
  skipped=$((skipped + $(count "$report" skipped)))
  if [[ $f != 0 ]]; then complain "$report"; fi
}
complain() {
  if grep -q 'failing tests:$' "$1"; then sed -n '/failing tests:$/,$p' "$1"; else tail -n 60 "$1"; fi |
    cut -c 1-600 | head -n 250
}

# lane: runs what is on the list, file by file.
lane() {
  local file start report
  while true; do
    exec 9>"$reports/lock"
    flock 9
    read -r file <"$reports/list" || return 0
    sed -i 1d "$reports/list"
    exec 9>&-
    start=$SECONDS
    report=$reports/$(basename "$file")
    run "$report" "$file"
    echo "$file: $((SECONDS - start)) s" | tee -a "$report"
  done
}

# second FILE: runs it once more, and counts that.
second() {
  echo "$1: once more"
  again+=("$(basename "$1" .test.js)")
  run "$reports/again" "$1"
  take "$reports/again"
}

case $name in
  integration | vm)
    printf '%s\n' "${files[@]}" >"$reports/list"
    # Most of an agent's test is waiting. An emulated guest has no time to spare.
    lanes=4
    [[ -n ${LINKSPAN_GUEST-} ]] && lanes=1
    for ((i = 0; i < lanes; i++)); do lane & done
    wait
    for file in "${files[@]}"; do
      before=($passed $failed $skipped)
      take "$reports/$(basename "$file")"
      [[ $f == 0 ]] && continue
      read -r passed failed skipped <<<"${before[*]}"
      second "$file"
    done
    ;;
  *)
    run "$reports/all" "${files[@]}"
    take "$reports/all"
    mapfile -t places < <(sed -n 's/^test at \([^:]*\):.*/\1/p' "$reports/all" | sort -u)
    # Only where every failure names the file that it is of: what failed in a helper may be any file's.
    if [[ $failed != 0 ]] && ((${#places[@]} > 0 && ${#places[@]} <= 3)) &&
      ! printf '%s\n' "${places[@]}" | grep -qvE "^dist/test/$name/.*\.test\.js$"; then
      failed=0
      for file in "${places[@]}"; do
        before=($passed $skipped)
        second "$file"
        read -r passed skipped <<<"${before[*]}"
      done
    fi
    ;;
esac

if [[ $failed != 0 ]]; then echo "(all of it: $log)"; fi
if ((${#again[@]} > 0)); then echo "run a second time: ${again[*]}"; fi
printf '%s: %d passed, %d failed, %d skipped, %d s\n' "$name" "$passed" "$failed" "$skipped" $(($(date +%s) - began))
[[ $failed == 0 ]]
