#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

CPE_MAC=0a:58:0a:80:02:0a
BAW_MAC=0a:58:0a:80:02:06
GATEWAY_MAC=0a:58:0a:80:02:01

# Two pods on one node: CPE (lh-client) --- vethcpe [br0] vethbaw --- BAW (lh-server).
build() {
	lh_netns lh-client lh-node lh-server
	lh_port lh-client eth0 $CPE_MAC vethcpe
	lh_port lh-server eth0 $BAW_MAC vethbaw
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	ip -n lh-client route add default via "$GATEWAY"
	lh_neigh lh-client eth0 "$GATEWAY" $GATEWAY_MAC
	lh_neigh lh-client eth0 "$SERVER" $BAW_MAC
	lh_neigh lh-server eth0 "$CLIENT" $CPE_MAC
	lh_ovs_start
	ovs-vsctl add-br br0 -- set-fail-mode br0 secure \
		-- add-port br0 vethcpe -- set interface vethcpe ofport_request=3 \
		-- add-port br0 vethbaw -- set interface vethbaw ofport_request=4
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
