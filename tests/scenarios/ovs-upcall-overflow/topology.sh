#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,actions=output:2
		priority=100,in_port=2,actions=output:1
	FLOWS
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	[ "$1" = healthy ] || stop_vswitchd
}

stop_vswitchd() {
	# Every first packet of a flow waits for ovs-vswitchd, which does not come.
	kill -STOP "$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")"
}

lh_topology "$@"
