#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"
. "$(dirname "$0")/../lib-worker.sh"

build() {
	lh_worker -- set interface ovn-k8s-mp0 ofport_request=2 \
		-- add-port br-int patch-br-int-to-br-local_worker-043 \
		-- set interface patch-br-int-to-br-local_worker-043 type=patch ofport_request=118 \
		options:peer=patch-br-local_worker-043-to-br-int \
		-- add-port br-local patch-br-local_worker-043-to-br-int \
		-- set interface patch-br-local_worker-043-to-br-int type=patch ofport_request=3 \
		options:peer=patch-br-int-to-br-local_worker-043
	pipeline
	lh_local_bridge "$1"
}

# What OVN makes of the node switch's load balancer (zone 166), the cluster router, and the gateway
# port's SNAT (zone 270).
pipeline() {
	lh_flows br-int <<-FLOWS
		table=0,priority=100,in_port=2,ip,actions=resubmit(,10)
		table=0,priority=100,in_port=118,ip,actions=resubmit(,20)
		table=10,priority=120,tcp,nw_dst=$SERVICE,tp_dst=443,actions=ct(commit,zone=166,nat(dst=$MASTER:6443),table=11)
		table=11,priority=50,ip,nw_dst=10.56.166.0/24,actions=dec_ttl,set_field:$SNAT_MAC->eth_src,set_field:$GW0_MAC->eth_dst,ct(commit,zone=270,nat(src=169.254.12.181),table=12)
		table=12,priority=100,actions=output:118
		table=20,priority=100,ip,nw_dst=169.254.12.181,actions=ct(zone=270,nat,table=21)
		table=21,priority=50,ip,nw_dst=192.168.88.2,actions=dec_ttl,set_field:$ROUTER_MAC->eth_src,set_field:$MP0_MAC->eth_dst,ct(zone=166,nat,table=22)
		table=22,priority=100,actions=output:2
	FLOWS
}

lh_topology "$@"
