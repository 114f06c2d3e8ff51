#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"
. "$(dirname "$0")/../lib-ovn.sh"

ROUTER_MAC=0a:58:c0:a8:58:01
GATEWAY_MAC=0a:58:a9:fe:00:02
SNAT_MAC=0a:58:a9:fe:0c:b5
MP0_MAC=1e:0f:6d:2a:58:02
GW0_MAC=0a:58:a9:fe:00:01
ETH0_MAC=00:50:56:a6:00:2b
MASTER_MAC=00:50:56:a6:00:0b

# As in ovn-br-local; br-int's flows are OVN's own.
build() {
	lh_netns lh-node lh-server
	lh_module vxlan geneve
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
	lh_neigh lh-node ovn-k8s-gw0 169.254.12.181 $SNAT_MAC
	masquerade
	lh_ovn_start worker-043 10.56.166.43 locnet:br-local
	logical
	lh_ovn_sync
	local_bridge "$1"
	lh_hold listener.log lh-server tcp-listen --on "$MASTER:6443"
}

switches() {
	ovs-vsctl add-br br-int -- set-fail-mode br-int secure \
		-- add-port br-int ovn-k8s-mp0 \
		-- set interface ovn-k8s-mp0 type=internal external_ids:iface-id=k8s-worker-043 \
		-- add-br br-local -- set-fail-mode br-local secure \
		-- add-port br-local ovn-k8s-gw0 \
		-- set interface ovn-k8s-gw0 type=internal ofport_request=1 \
		-- add-port br-local ext-vxlan -- set interface ext-vxlan type=vxlan ofport_request=2 \
		options:remote_ip=flow options:key=flow
}

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

# The node's switch with the service, the cluster router, and the switch behind br-local.
logical() {
	ovn-nbctl ls-add worker-043 \
		-- lsp-add worker-043 k8s-worker-043 \
		-- lsp-set-addresses k8s-worker-043 "$MP0_MAC 192.168.88.2" \
		-- lb-add apiserver "$SERVICE:443" "$MASTER:6443" tcp \
		-- ls-lb-add worker-043 apiserver \
		-- lr-add ovn_cluster_router \
		-- lrp-add ovn_cluster_router rtos-worker-043 $ROUTER_MAC 192.168.88.1/24 \
		-- lsp-add worker-043 stor-worker-043 -- lsp-set-type stor-worker-043 router \
		-- lsp-set-addresses stor-worker-043 router \
		-- lsp-set-options stor-worker-043 router-port=rtos-worker-043 \
		-- ls-add node_local_switch \
		-- lrp-add ovn_cluster_router rtos-node_local_switch $GATEWAY_MAC 169.254.0.2/20 \
		-- lsp-add node_local_switch stor-node_local_switch \
		-- lsp-set-type stor-node_local_switch router \
		-- lsp-set-addresses stor-node_local_switch router \
		-- lsp-set-options stor-node_local_switch router-port=rtos-node_local_switch \
		-- lsp-add node_local_switch br-local_worker-043 \
		-- lsp-set-type br-local_worker-043 localnet \
		-- lsp-set-addresses br-local_worker-043 unknown \
		-- lsp-set-options br-local_worker-043 network_name=locnet \
		-- lrp-set-gateway-chassis rtos-node_local_switch worker-043 1 \
		-- lr-nat-add ovn_cluster_router dnat_and_snat 169.254.12.181 192.168.88.2 \
		k8s-worker-043 $SNAT_MAC \
		-- lr-route-add ovn_cluster_router 0.0.0.0/0 169.254.0.1 \
		-- lr-policy-add ovn_cluster_router 1003 \
		'inport == "rtos-worker-043" && ip4.src == 192.168.88.2 && ip4.dst == 10.56.166.0/24' \
		reroute 169.254.0.1
	ovn-nbctl static-mac-binding-add rtos-node_local_switch 169.254.0.1 $GW0_MAC
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
