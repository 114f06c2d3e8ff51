#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	rate=1
	[ "$1" = faulty ] || rate=10000
	ovs-ofctl -O OpenFlow13 add-meter br0 "meter=1,pktps,burst,bands=type=drop,rate=$rate,burst_size=$rate"
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,actions=meter:1,output:2
		priority=100,in_port=2,actions=output:1
	FLOWS
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
}

lh_topology "$@"
