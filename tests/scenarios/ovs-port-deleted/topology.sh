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
	echo "$1" >"$LH_DIR/twin"
}

lh_topology "$@"
