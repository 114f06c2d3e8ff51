#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	{
		cat <<-FLOWS
			priority=100,in_port=1,actions=resubmit(,10)
			priority=100,in_port=2,actions=output:1
			table=10,priority=100,tcp$V6,actions=output:2
		FLOWS
		[ "$1" = faulty ] ||
			echo "table=10,priority=90,udp$V6,actions=output:2"
	} | lh_flows br0
	lh_echo_server
}

lh_topology "$@"
