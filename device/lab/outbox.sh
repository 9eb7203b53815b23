#!/usr/bin/env bash
# The outbox on a real kernel: power cuts (uplink/outbox/cutlab), a full, a read-only and a failing disk. Prints a line of
# JSON for each check, as the guest does. Two machines run at once: one with ext4 and the failing disks, one with the rest.
#
#   outbox.sh SHARE    called by run.sh, which has built cutlab and its planted twins: its share folder
#   LAB_CUTS=N         N states of each file system, out of longer recordings, instead of the 500 that fit into four minutes
#   LAB_SEED=S         other random cuts of those
#   LAB_LIMIT=SECONDS  for a machine that is busy with something else
set -euo pipefail
share=$1
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
bin=$LABVM_HOME/bin
cut=$bin/cutlab
export LABVM_SMP=1
export GODEBUG=cpu.sse42=off   # the emulated CRC-32C instruction is slower than Go without it
limit=${LAB_LIMIT:-900}
ext4=(-runs 2 -items 4 -max 340 -min 340) f2fs=(-runs 2 -items 4 -max 120 -min 120) real=(-runs 2 -items 3 -max 40 -min 40)
if [ -n "${LAB_CUTS:-}" ]; then
    limit=$((limit + LAB_CUTS * 8))
    ext4=(-runs 6 -items 8 -variants 8 -mib 96 -max "$LAB_CUTS" -min $((LAB_CUTS < 2000 ? LAB_CUTS : 2000)) -seed "${LAB_SEED:-$$}")
    f2fs=("${ext4[@]}")
    real=("${ext4[@]}" -runs 3 -mib 192)
fi
machine() { timeout "$limit" "$here/labvm" --ram 1536 -- bash -c "$1" || true; }
words() { printf '%q ' "$@"; }

first=$(
    words "$cut" cut -check cut-ext4 -fs ext4 "${ext4[@]}"; echo
    words "$cut" fault disk-full disk-read-only disk-io-error; echo
    words "$cut" cut -check cut-no-flush -fs ext4 -o barrier=0 -runs 1 -items 2 -expect noproof; echo
)
second=$(
    words "$cut" cut -check cut-f2fs -fs f2fs -mib 64 "${f2fs[@]}"; echo
    words "$cut" cut -check cut-ext4-writeback -fs ext4 -o data=writeback,commit=1000 -segment 0 -mib 128 "${real[@]}"; echo
    words "$cut" cut -check cut-planted -fs ext4 -runs 1 -items 4 -variants 0 -worker "$bin/cutlab-skipped-sync" -expect lost; echo
    words "$bin/cutlab-retried-sync" fault -planted disk-planted disk-io-error; echo
)
machine "$second" > "$share/cuts" &   # a file of its own: two machines would write into each other's lines
machine "$first"
wait
cat "$share/cuts"
