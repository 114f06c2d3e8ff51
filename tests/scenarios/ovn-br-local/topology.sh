#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

ROUTER_MAC=0a:58:c0:a8:58:01
GATEWAY_MAC=0a:58:a9:fe:0c:b5
MP0_MAC=1e:0f:6d:2a:58:02
GW0_MAC=0a:58:a9:fe:00:01
ETH0_MAC=00:50:56:a6:00:2b
MASTER_MAC=00:50:56:a6:00:0b

# The worker (lh-node): a host-networked client, ovn-k8s-mp0 [br-int] patch = patch [br-local]
# ovn-k8s-gw0, which the host routes to eth0 --- eth0 of the master (lh-server).
build() {
	lh_netns lh-node lh-server
	lh_module vxlan
	lh_veth lh-node eth0 $ETH0_MAC lh-server eth0 $MASTER_MAC
	lh_set lh-node net/ipv4/ip_forward 1
	ip -n lh-node addr add 10.56.166.43/24 dev eth0
	ip -n lh-server addr add "$MASTER/24" dev eth0
	lh_neigh lh-node eth0 "$MASTER" $MASTER_MAC
	lh_neigh lh-server eth0 10.56.166.43 $ETH0_MAC
	lh_ovs_start
	switches
	ip -n lh-node link set ovn-k8s-mp0 address $MP0_MAC up
	ip -n lh-node link set ovn-k8s-gw0 address $GW0_MAC up
	ip -n lh-node addr add 192.168.88.2/24 dev ovn-k8s-mp0
	ip -n lh-node addr add 169.254.0.1/20 dev ovn-k8s-gw0
	ip -n lh-node route add 198.223.0.0/16 via 192.168.88.1
	lh_neigh lh-node ovn-k8s-mp0 192.168.88.1 $ROUTER_MAC
	lh_neigh lh-node ovn-k8s-gw0 169.254.12.181 $GATEWAY_MAC
	masquerade
	pipeline
	local_bridge "$1"
	lh_hold listener.log lh-server tcp-listen --on "$MASTER:6443"
}

switches() {
	ovs-vsctl add-br br-int -- set-fail-mode br-int secure \
		-- add-port br-int ovn-k8s-mp0 \
		-- set interface ovn-k8s-mp0 type=internal ofport_request=2 \
		-- add-port br-int patch-br-int-to-br-local_worker-043 \
		-- set interface patch-br-int-to-br-local_worker-043 type=patch ofport_request=118 \
		options:peer=patch-br-local_worker-043-to-br-int \
		-- add-br br-local -- set-fail-mode br-local secure \
		-- add-port br-local ovn-k8s-gw0 \
		-- set interface ovn-k8s-gw0 type=internal ofport_request=1 \
		-- add-port br-local ext-vxlan -- set interface ext-vxlan type=vxlan ofport_request=2 \
		options:remote_ip=flow options:key=flow \
		-- add-port br-local patch-br-local_worker-043-to-br-int \
		-- set interface patch-br-local_worker-043-to-br-int type=patch ofport_request=3 \
		options:peer=patch-br-int-to-br-local_worker-043
}

# From the shared gateway address to the worker's own, as the node's iptables do it.
masquerade() {
	ip netns exec lh-node nft -f - <<-RULES
		table ip gateway {
			chain postrouting {
				type nat hook postrouting priority srcnat; policy accept;
				ip saddr 169.254.0.0/20 oifname "eth0" masquerade
			}
		}
	RULES
}

# What OVN makes of the node switch's load balancer (zone 166), the cluster router, and the gateway
# port's SNAT (zone 270).
pipeline() {
	lh_flows br-int <<-FLOWS
		table=0,priority=100,in_port=2,ip,actions=resubmit(,10)
		table=0,priority=100,in_port=118,ip,actions=resubmit(,20)
		table=10,priority=120,tcp,nw_dst=$SERVICE,tp_dst=443,actions=ct(commit,zone=166,nat(dst=$MASTER:6443),table=11)
		table=11,priority=50,ip,nw_dst=10.56.166.0/24,actions=dec_ttl,set_field:$GATEWAY_MAC->eth_src,set_field:$GW0_MAC->eth_dst,ct(commit,zone=270,nat(src=169.254.12.181),table=12)
		table=12,priority=100,actions=output:118
		table=20,priority=100,ip,nw_dst=169.254.12.181,actions=ct(zone=270,nat,table=21)
		table=21,priority=50,ip,nw_dst=192.168.88.2,actions=dec_ttl,set_field:$ROUTER_MAC->eth_src,set_field:$MP0_MAC->eth_dst,ct(zone=166,nat,table=22)
		table=22,priority=100,actions=output:2
	FLOWS
}

local_bridge() {
	if [ "$1" = faulty ]; then
		# A script's leftovers, from when port 2 was the patch port.
		lh_flows br-local <<-FLOWS
			table=0,priority=100,in_port=1,actions=output:2
			table=0,priority=100,in_port=2,actions=output:1
		FLOWS
	else
		echo action=normal | lh_flows br-local
	fi
}

lh_topology "$@"
