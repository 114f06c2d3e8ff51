#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

CPE_MAC=0a:58:0a:80:03:ca
BAW_MAC=0a:58:0a:80:03:d6
GATEWAY_MAC=0a:58:0a:80:02:01
PORTS=59904-59919

# CPE knows BAW both by its own address and by the service's.
build() {
	lh_ovs_pods $CPE_MAC $BAW_MAC $GATEWAY_MAC
	# Left over from a direct connection that had this port: its answers go straight to CPE, before
	# the rule that translates the address back.
	stale="table=4,priority=110,tcp$V6,tp_dst=60172,actions=output:3"
	[ "$1" = faulty ] || stale=
	lh_ovs_undnat "table=4,priority=100,tcp$V6,actions=ct(zone=1,nat,table=5)
		$stale"
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:9443" --count 100
}

lh_topology "$@"
