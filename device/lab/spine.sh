#!/usr/bin/env bash
# The spine: the whole agent in the virtual machine, on the emulated devices, delivering to a hub outside of it.
#
#   spine.sh SHARE SERIAL    called by run.sh, which has built the programs: its share folder, QEMU's arguments for the
#                            serial line
#
#   1. the hub starts out here, on this machine's loopback, which is 10.0.2.2 in the guest, and issues a claim;
#   2. `guest spine AGENT` plugs everything in, starts the agent, and goes through the checks of guest/spine.go;
#   3. when both have ended, `delivered` looks into the hub's files for all that the guest was told is saved.
set -euo pipefail
share=$1 serial=$2
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
cd "$here/../.."
bin=$LABVM_HOME/bin
hub=$(mktemp -d /tmp/telecart-hub.XXXXXX)   # short: it holds a Unix socket. Not in the share: the guest never sees its keys
id=''
stop_hub() { [ -z "$id" ] || { kill "$id" 2>/dev/null || true; wait "$id" || true; id=''; }; }
trap 'stop_hub; rm -rf "$hub"' EXIT

LAB_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
"$bin/telecart-hub" keys init --offline "$hub/offline" --state "$hub/state" --hub hub.lab
"$bin/telecart-hub" user add --state "$hub/state" --name lab --role specialist --tenant lab --password-stdin <<<"$LAB_PASSWORD"
cat > "$hub/hub.toml" <<TOML
name = "hub.lab"
state = "$hub/state"
listen = "127.0.0.1:0"
people_listen = "127.0.0.1:0"
media_listen = "127.0.0.1:0"
TOML
"$bin/telecart-hub" serve --config "$hub/hub.toml" >"$hub/ready" 2>"$hub/log" &
id=$!
for _ in $(seq 200); do
    ! grep -q '^ready ' "$hub/ready" || break
    kill -0 "$id" 2>/dev/null || { cat "$hub/log"; exit 1; }
    sleep 0.1
done
read -r _ https people < "$hub/ready" || { echo "spine: the hub does not get ready"; cat "$hub/log"; exit 1; }
LAB_CLAIM=$("$bin/telecart-hub" claim --state "$hub/state" --tenant lab --cart cart-1 --site Lab --address "10.0.2.2:${https##*:}" | grep -o -m1 '^TC1-.*')
LAB_HUB=http://10.0.2.2:${people##*:}
export LAB_PASSWORD LAB_CLAIM LAB_HUB

failed=0
LABVM_SHARE=$share LABVM_SMP=2 timeout 200 "$here/labvm" --net --ram 1024 -q "$serial" -- "$bin/guest" spine "$bin/telecartd" || failed=1
stop_hub
"$bin/delivered" "$hub/state/store" "$share/told.jsonl" || failed=1
if [ "$failed" = 1 ]; then
    for log in "$share/agent.log" "$hub/log"; do
        echo "-- ${log##*/} of ${log%/*}:"
        tail -n 40 "$log" || true
    done
fi
exit "$failed"
