#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	lh_flows br0 <<-FLOWS
		cookie=0xdeadc0de,priority=100,in_port=1,actions=output:2
		priority=100,in_port=2,actions=output:1
	FLOWS
	lh_echo_server
	[ "$1" = healthy ] || gone
}

# ovs-vswitchd hears of it by itself.
gone() {
	ip -n lh-node link del p-s
	until [ "$(ovs-vsctl get interface p-s ofport)" = -1 ]; do
		sleep 0.1
	done
}

lh_topology "$@"
