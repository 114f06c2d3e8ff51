# Sourced after lib-ovs.sh by the scenarios of incident 1: a worker (lh-node) with a host-networked client,
# ovn-k8s-mp0 [br-int] patch = patch [br-local] ovn-k8s-gw0, which the host routes to eth0 --- eth0 of
# the master (lh-server).

ROUTER_MAC=0a:58:c0:a8:58:01
SNAT_MAC=0a:58:a9:fe:0c:b5
MP0_MAC=1e:0f:6d:2a:58:02
GW0_MAC=0a:58:a9:fe:00:01
ETH0_MAC=00:50:56:a6:00:2b
MASTER_MAC=00:50:56:a6:00:0b

# lh_worker [OVS-VSCTL-ARG...]: the worker with its bridges, the arguments last in their making; the
# master listens. Nothing is in the bridges' tables yet.
lh_worker() {
	lh_netns lh-node lh-server
	lh_module vxlan
	lh_veth lh-node eth0 $ETH0_MAC lh-server eth0 $MASTER_MAC
	lh_set lh-node net/ipv4/ip_forward 1
	ip -n lh-node addr add 10.56.166.43/24 dev eth0
	ip -n lh-server addr add "$MASTER/24" dev eth0
	lh_neigh lh-node eth0 "$MASTER" $MASTER_MAC
	lh_neigh lh-server eth0 10.56.166.43 $ETH0_MAC
	lh_ovs_start
	ovs-vsctl add-br br-int -- set-fail-mode br-int secure \
		-- add-port br-int ovn-k8s-mp0 -- set interface ovn-k8s-mp0 type=internal \
		-- add-br br-local -- set-fail-mode br-local secure \
		-- add-port br-local ovn-k8s-gw0 \
		-- set interface ovn-k8s-gw0 type=internal ofport_request=1 \
		-- add-port br-local ext-vxlan -- set interface ext-vxlan type=vxlan ofport_request=2 \
		options:remote_ip=flow options:key=flow "$@"
	ip -n lh-node link set ovn-k8s-mp0 address $MP0_MAC up
	ip -n lh-node link set ovn-k8s-gw0 address $GW0_MAC up
	ip -n lh-node addr add 192.168.88.2/24 dev ovn-k8s-mp0
	ip -n lh-node addr add 169.254.0.1/20 dev ovn-k8s-gw0
	ip -n lh-node route add 198.223.0.0/16 via 192.168.88.1
	lh_neigh lh-node ovn-k8s-mp0 192.168.88.1 $ROUTER_MAC
	lh_neigh lh-node ovn-k8s-gw0 169.254.12.181 $SNAT_MAC
	lh_masquerade
	lh_hold listener.log lh-server tcp-listen --on "$MASTER:6443"
}

# From the shared gateway address to the worker's own, as the node's iptables do it.
lh_masquerade() {
	ip netns exec lh-node nft -f - <<-RULES
		table ip gateway {
			chain postrouting {
				type nat hook postrouting priority srcnat; policy accept;
				ip saddr 169.254.0.0/20 oifname "eth0" masquerade
			}
		}
	RULES
}

# lh_local_bridge TWIN: the rules of br-local, which switches; or a script's leftovers, from when port 2
# was the patch port.
lh_local_bridge() {
	if [ "$1" = faulty ]; then
		lh_flows br-local <<-FLOWS
			table=0,priority=100,in_port=1,actions=output:2
			table=0,priority=100,in_port=2,actions=output:1
		FLOWS
	else
		echo action=normal | lh_flows br-local
	fi
}

# lh_worker_client: the client's connection to the service. It pauses so that no segment is still on its
# way through ovs-vswitchd when the connection ends.
lh_worker_client() {
	lh_peer lh-node tcp-connect --from 192.168.88.2:3636 --to "$SERVICE:443" \
		--hold-ms 1000 --pause-ms 1000 >"$LH_DIR/client.log"
	ovs-appctl dpctl/dump-conntrack >"$LH_DIR/conntrack.log"
}

# lh_worker_witness TWIN ZONE: the zone, where it is known, in which the service is translated.
lh_worker_witness() {
	translated=$(grep -c "dst=198.223.0.1,.*zone=$2" "$LH_DIR/conntrack.log" || true)
	lh_want "connections translated by the load balancer" "$translated" -ge 1
	gw0=$(lh_rx lh-node ovn-k8s-gw0)
	if [ "$1" = faulty ]; then
		lh_want "packets at ovn-k8s-gw0" "$gw0" -eq 0
		lh_want "the client says" "$(cut -d: -f1 "$LH_DIR/client.log")" = "not connected"
	else
		lh_want "packets at ovn-k8s-gw0" "$gw0" -ge 3
		lh_want "the client says" "$(cat "$LH_DIR/client.log")" = "echoed=64 same=true"
	fi
	lh_witness
}
