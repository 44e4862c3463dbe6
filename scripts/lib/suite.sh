#!/bin/bash
# Runs one suite of the built tests and closes with a line of counts: suite.sh NAME [WORD...]
# WORD: only files whose path contains one. The full report is kept in .cache/test/NAME.log.
#
# Suites of whole agents run file by file, alone on the machine. A file of theirs that fails is run a second time, since a
# pause of the machine can starve a userspace tunnel of packets that a test counts: what it said the first time is printed,
# and the closing lines name it. What is broken fails twice.
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
log=.cache/test/$name.log
: >"$log"
passed=0
failed=0
skipped=0
again=()

# run FILE...: one run of node; sets p, f, s and keeps its report in $report.
report=$(mktemp)
trap 'rm -f "$report"' EXIT
count() { sed -n "s/^ℹ $1 \([0-9]*\)$/\1/p" "$report" | tail -n 1; }
run() {
  local code=0
  node --test --test-concurrency=2 --test-reporter=spec "$@" >"$report" 2>&1 || code=$?
  cat "$report" >>"$log"
  p=$(count pass)
  f=$(($(count fail) + $(count cancelled)))
  s=$(count skipped)
  if [[ $code != 0 && $f == 0 ]]; then f=1; fi
}
complain() {
  if grep -q 'failing tests:$' "$report"; then sed -n '/failing tests:$/,$p' "$report"; else tail -n 60 "$report"; fi |
    cut -c 1-600 | head -n 250
}
add() {
  passed=$((passed + ${p:-0}))
  failed=$((failed + f))
  skipped=$((skipped + ${s:-0}))
}

case $name in
  integration | vm)
    for file in "${files[@]}"; do
      start=$SECONDS
      run "$file"
      echo "$file: $((SECONDS - start)) s" >>"$log"
      if [[ $f != 0 ]]; then
        complain
        echo "$file: once more"
        again+=("$(basename "$file" .test.js)")
        run "$file"
        [[ $f != 0 ]] && complain
      fi
      add
    done
    ;;
  *)
    run "${files[@]}"
    [[ $f != 0 ]] && complain
    add
    ;;
esac

if [[ $failed != 0 ]]; then echo "(all of it: $log)"; fi
if ((${#again[@]} > 0)); then echo "run a second time: ${again[*]}"; fi
printf '%s: %d passed, %d failed, %d skipped, %d s\n' "$name" "$passed" "$failed" "$skipped" $(($(date +%s) - began))
[[ $failed == 0 ]]
