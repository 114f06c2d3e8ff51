#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lost=$(ip netns exec lh-node ovs-dpctl show | sed -n 's/.*lost:\([0-9]*\).*/\1/p')
if [ "$1" = faulty ]; then
	lh_want "upcalls that the queue had no room for" "$lost" -ge 100
	kill -CONT "$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")"
else
	lh_want "upcalls that the queue had no room for" "$lost" -eq 0
fi
lh_witness
