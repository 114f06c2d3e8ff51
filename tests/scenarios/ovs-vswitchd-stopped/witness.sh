#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || {
	missed=$(ip netns exec lh-node ovs-dpctl show | sed -n 's/.*missed:\([0-9]*\).*/\1/p')
	lh_want "packets that had to go up" "$missed" -ge 3
	kill -CONT "$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")"
}
lh_want_of "$1" "echoes" "$(lh_echoed)" 0 3
lh_witness
