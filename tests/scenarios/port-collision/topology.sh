#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

CPE_MAC=0a:58:0a:80:02:0a
BAW_MAC=0a:58:0a:80:02:06
GATEWAY_MAC=0a:58:0a:80:02:01

build() {
	lh_ovs_pods $CPE_MAC $BAW_MAC $GATEWAY_MAC
	flows "$1"
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:9443" --count 100
}

# Service and direct connections in one zone. The fault: only the service's go through NAT, so that
# nothing can give way when a direct connection has the very tuple that one of theirs has become.
# The remedy of https://github.com/openshift/sdn/pull/269: all through NAT.
flows() {
	direct="ct(commit,zone=1,table=5)"
	[ "$1" = faulty ] || direct="ct(commit,zone=1,nat(src=$ANY_AT),table=5)"
	lh_flows br0 <<-FLOWS
		table=0,priority=200,in_port=3,tcp$V6,$NW_DST=$SERVICE,tp_dst=9443,actions=set_field:$BAW_MAC->eth_dst,ct(commit,zone=1,nat(dst=$SERVER_AT:9443),table=5)
		table=0,priority=100,in_port=3,tcp$V6,actions=$direct
		table=0,priority=100,in_port=4,tcp$V6,actions=ct(zone=1,nat,table=6)
		table=5,priority=100,actions=output:4
		table=6,priority=100,actions=output:3
	FLOWS
}

lh_topology "$@"
