#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"
. "$(dirname "$0")/../lib-ovn.sh"
. "$(dirname "$0")/../lib-worker.sh"

GATEWAY_MAC=0a:58:a9:fe:00:02

# As in ovn-br-local; br-int's flows are OVN's own.
build() {
	lh_module geneve
	lh_worker -- set interface ovn-k8s-mp0 external_ids:iface-id=k8s-worker-043
	lh_ovn_start worker-043 10.56.166.43 locnet:br-local
	logical
	lh_ovn_sync
	lh_local_bridge "$1"
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

lh_topology "$@"
