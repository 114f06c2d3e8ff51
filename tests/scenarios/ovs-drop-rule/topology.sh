#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	{
		cat <<-FLOWS
			priority=100,in_port=1,actions=resubmit(,7)
			priority=100,in_port=2,actions=output:1
			table=7,priority=100,actions=output:2
		FLOWS
		[ "$1" = healthy ] ||
			echo "cookie=0x5ca1ab1e,table=7,priority=200,udp$V6,tp_dst=4444,actions=drop"
	} | lh_flows br0
	lh_echo_server
}

lh_topology "$@"
