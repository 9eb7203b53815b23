#!/usr/bin/env bash
# The lab: every driver, the whole agent, and the outbox under power cuts, against real device nodes and file systems of a
# stock kernel, in a throw-away virtual machine. See README.md.
#
#   device/lab/run.sh              everything; writes lab.json at the top of the repository
#   device/lab/run.sh CHECK...     only these checks of the drivers; writes no lab.json
#   LAB_SUITES=spine device/lab/run.sh    only the agent (or only "drivers", or "outbox"; several with blanks)
#   LAB_CUTS=5000 LAB_SUITES=outbox device/lab/run.sh    that many power cuts on each file system
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
cd "$here/../.."
export LABVM_HOME=$PWD/.tools/lab
bin=$LABVM_HOME/bin
mkdir -p "$bin"
suites=${LAB_SUITES:-drivers spine outbox}
[ $# = 0 ] || suites=drivers

share=$(mktemp -d /tmp/telecart-lab.XXXXXX)   # short: it holds a Unix socket
feeder='' builder=''
end() {
    [ -z "$feeder" ] || kill "$feeder" 2>/dev/null || true
    [ -z "$builder" ] || kill "$builder" 2>/dev/null || true
    rm -rf "$share"
}
trap end EXIT

build() {
    # The guest's own program needs no library that the guest may not find. The agent does (it encodes pictures); it finds
    # this machine's.
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$bin/" ./device/lab/guest
    [[ $suites != *spine* ]] || go build -trimpath -buildvcs=false -o "$bin/" ./cmd/telecartd ./cmd/telecart-hub ./device/lab/delivered
    [[ $suites == *outbox* ]] || return 0
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$bin/" ./uplink/outbox/cutlab
    local bug
    for bug in skipped-sync retried-sync; do
        CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags planted -ldflags "-X telecart/device/kit/planted.which=$bug" \
            -o "$bin/cutlab-$bug" ./uplink/outbox/cutlab
    done
}
build & # while the kernel comes
builder=$!

setup() {
    local sudo='' missing='' p
    [ "$(id -u)" = 0 ] || sudo=sudo
    for p in qemu-system-x86 busybox-static kmod cpio xz-utils e2fsprogs f2fs-tools dmsetup; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=" $p"
    done
    [ -z "$missing" ] && [ -e "$LABVM_HOME/kernel/vmlinux" ] && return
    $sudo apt-get -q update
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $missing
    PATH=$PATH:/usr/sbin:/sbin "$here/labvm" --setup
}
[ -n "${LAB_READY:-}" ] || setup
wait "$builder"
builder=''

if [ $# = 0 ] && [[ $suites == *drivers* ]]; then
    "$here/kernel.sh" "$bin"
fi

if [ "$suites" != outbox ]; then
    "$bin/guest" feed "$share/serial" & # by itself, or another shell would stand between it and the kill
    feeder=$!
fi
serial="-device qemu-xhci,p2=8,p3=8 -chardev socket,id=line,path=$share/serial,server=on,wait=off -device usb-serial,chardev=line"
{
    [[ $suites != *drivers* ]] || LABVM_SHARE=$share timeout 360 "$here/labvm" -q "$serial" -- "$bin/guest" drivers "$@" || true
    [[ $suites != *spine* ]] || "$here/spine.sh" "$share" "$serial" || true
    [[ $suites != *outbox* ]] || "$here/outbox.sh" "$share" || true
} > "$share/results"
if [ $# -gt 0 ]; then
    "$bin/guest" report "$share/lab.json" "$@" < "$share/results"
    exit
fi
# shellcheck disable=SC2086 # a list of words
"$bin/guest" report lab.json $suites < "$share/results"
