#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_module nf_conntrack
	lh_ovs_pair
	# The way out: through conntrack too, or past it.
	out="ct(commit,zone=7),output:2"
	[ "$1" = healthy ] || out="output:2"
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,tcp$V6,actions=$out
		priority=100,in_port=2,tcp$V6,actions=ct(zone=7,table=1)
		cookie=0xf12e3a11,table=1,priority=100,ct_state=+trk+inv,actions=drop
		table=1,priority=50,ct_state=+trk+est,actions=output:1
	FLOWS
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
}

lh_topology "$@"
