#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	missed=$(ip netns exec lh-node ovs-dpctl show | sed -n 's/.*missed:\([0-9]*\).*/\1/p')
	lh_want "packets that had to go up" "$missed" -ge 3
	kill -CONT "$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")"
	lh_want "echoes" "$(lh_echoed)" -eq 0
else
	lh_want "echoes" "$(lh_echoed)" -eq 3
fi
lh_witness
