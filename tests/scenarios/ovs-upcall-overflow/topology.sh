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
	# Long packets fill the queue sooner.
	for dev in p-c p-s; do
		ip -n lh-node link set $dev mtu 9000
	done
	ip -n lh-client link set eth0 mtu 9000
	ip -n lh-server link set eth0 mtu 9000
	[ "$1" = healthy ] || stop_vswitchd
}

stop_vswitchd() {
	# Every first packet of a flow waits for ovs-vswitchd, which does not come.
	kill -STOP "$(cat "$OVS_RUNDIR/ovs-vswitchd.pid")"
}

lh_topology "$@"
