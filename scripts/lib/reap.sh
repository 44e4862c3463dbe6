#!/bin/bash
# Removes a lab: every process in its namespaces, the namespaces, its folder. Nothing else of a lab exists.
#
#   reap.sh PREFIX FOLDER           now
#   reap.sh --watch PREFIX FOLDER   when stdin closes: its writer is the lab's owner, who may die of anything
watch=
if [[ ${1-} == --watch ]]; then
  watch=1
  shift
fi
prefix=${1:?prefix}
folder=${2:?folder}
if [[ -n $watch ]]; then
  # The owner's terminal sends its signals to us too; we outlive them.
  trap '' INT TERM HUP
  # `keep`: the owner leaves the lab running on purpose.
  while read -r word; do
    [[ $word == keep ]] && exit 0
  done
fi

namespaces() {
  local name
  for name in /run/netns/"$prefix"-*; do
    [[ -e $name ]] && basename "$name"
  done
}

# A process may be forking while we look: until none is left.
for _ in {1..50}; do
  pids=$(for name in $(namespaces); do ip netns pids "$name"; done)
  [[ -z $pids ]] && break
  # shellcheck disable=SC2086
  kill -9 $pids 2>/dev/null
  sleep 0.02
done
for name in $(namespaces); do ip netns delete "$name"; done
[[ $folder == */linkspan-* ]] && rm -rf -- "$folder"
exit 0
