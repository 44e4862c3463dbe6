#!/bin/bash
# Runs one suite of the built tests and closes with a line of counts: suite.sh NAME [WORD...]
# WORD: only files whose path contains one. The full report is kept in .cache/test/NAME.log.
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

# Whole agents with their clocks want the machine for themselves; the rest shares two cores.
case $name in
  integration | vm) concurrency=1 ;;
  *) concurrency=2 ;;
esac
mkdir -p .cache/test
# Hundreds of agents and commands are started, and most of a start is compiling (Node 22 and later know this).
export NODE_COMPILE_CACHE=$PWD/.cache/compile
log=.cache/test/$name.log
node --test --test-concurrency="$concurrency" --test-reporter=spec "${files[@]}" >"$log" 2>&1
code=$?

count() { sed -n "s/^ℹ $1 \([0-9]*\)$/\1/p" "$log" | tail -n 1; }
passed=$(count pass)
failed=$(count fail)
skipped=$(count skipped)
cancelled=$(count cancelled)
failed=$((${failed:-0} + ${cancelled:-0}))
if [[ $code != 0 && $failed == 0 ]]; then failed=1; fi
if [[ $failed != 0 ]]; then
  if grep -q 'failing tests:$' "$log"; then sed -n '/failing tests:$/,$p' "$log"; else tail -n 60 "$log"; fi | head -n 250
  echo "(all of it: .cache/test/$name.log)"
fi
printf '%s: %d passed, %d failed, %d skipped, %d s\n' \
  "$name" "${passed:-0}" "$failed" "${skipped:-0}" $(($(date +%s) - began))
[[ $failed == 0 ]]
