#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

CPE_MAC=0a:58:0a:80:03:ca
BAW_MAC=0a:58:0a:80:03:d6
GATEWAY_MAC=0a:58:0a:80:02:01

# Two pods on one node: CPE (lh-client) --- vethcpe [br0] vethbaw --- BAW (lh-server). CPE knows BAW
# both by its own address and by the service's.
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

# The service's address is translated in zone 1, the source port in zone 2 (what it is translated to
# tells the service's connections from direct ones); the answers come back through both.
flows() {
	# What the answers meet after the port has been translated back.
	back="ct(zone=1,nat,table=5)"
	[ "$1" = healthy ] || back="output:3"
	lh_flows br0 <<-FLOWS
		table=0,priority=200,in_port=3,$IP,$NW_DST=$SERVICE,actions=resubmit(,1)
		table=0,priority=200,in_port=4,tcp$V6,tp_src=9443,tp_dst=59906,actions=resubmit(,3)
		table=0,priority=100,in_port=3,actions=output:4
		table=0,priority=100,in_port=4,actions=output:3
		table=1,priority=100,tcp$V6,tp_dst=9443,actions=ct(commit,zone=1,nat(dst=$SERVER_AT:9443),table=2)
		table=2,priority=100,tcp$V6,actions=set_field:$BAW_MAC->eth_dst,ct(commit,zone=2,nat(src=$CLIENT_AT:59906),table=6)
		table=3,priority=100,tcp$V6,actions=ct(zone=2,nat,table=4)
		table=4,priority=100,tcp$V6,actions=$back
		table=5,priority=100,actions=output:3
		table=6,priority=100,actions=output:4
	FLOWS
}

lh_topology "$@"
