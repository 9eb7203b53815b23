#!/usr/bin/env bash
# The tests that a package can only make on a kernel of its own (build tag lab), each in a throw-away machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1
for p in hotplug rtc stethoscope stethoscope/alsa; do
    CGO_ENABLED=0 go test -c -tags lab -o "$bin/$(basename "$p").test" "./device/$p"
done
timeout 240 "$here/labvm" -- bash -ec "modprobe snd-aloop pcm_substreams=1; $bin/rtc.test -test.run Lab; $bin/alsa.test -test.run Lab; $bin/stethoscope.test -test.run Lab"
timeout 120 "$here/labvm" -q '-device qemu-xhci,id=x -device usb-hub,bus=x.0,port=1 -chardev null,id=n -device usb-serial,chardev=n,always-plugged=true,bus=x.0,port=1.2,serial=QFT1 -device usb-kbd,bus=x.0,port=1.3,serial=KBD9' -- "$bin/hotplug.test" -test.run Lab
