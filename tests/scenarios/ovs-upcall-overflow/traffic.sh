#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

count=3
[ "$(sed -n 's/^State:.\(.\).*/\1/p' "/proc/$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")/status")" != T ] || count=800
lh_peer lh-client udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count $count --size 8900 >"$LH_DIR/client.log"
