#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	# In the database too: ovs-vswitchd would set it right again otherwise.
	[ "$1" = healthy ] || {
		ip -n lh-server link set eth0 mtu 1300
		ip -n lh-node link set p-s mtu 1300
	}
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,actions=output:2
		priority=100,in_port=2,actions=output:1
	FLOWS
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
}

lh_topology "$@"
