#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

MGNT_MAC=2e:ce:c1:bb:f4:d9
PEER_MAC=04:40:a9:dc:61:a4

# The host (lh-node): mgnt [br-bond] bond1 (eth0, eth1) --- a switch (lh-switch) --- a peer (lh-server).
build() {
	lh_netns lh-node lh-switch lh-server
	ip -n lh-switch link add br0 type bridge mcast_snooping 0 forward_delay 0
	lh_veth lh-node eth0 10:51:72:29:1b:4f lh-switch port0 02:00:00:00:02:00
	lh_veth lh-node eth1 10:51:72:29:1b:50 lh-switch port1 02:00:00:00:02:01
	lh_veth lh-server eth0 $PEER_MAC lh-switch port-p 02:00:00:00:02:02
	for dev in port0 port1 port-p; do
		ip -n lh-switch link set $dev master br0
	done
	ip -n lh-switch link set br0 up
	ip -n lh-server addr add "$PEER/24" broadcast + dev eth0
	lh_ovs_start
	ovs-vsctl add-br br-bond -- add-bond br-bond bond1 eth0 eth1 bond_mode=active-backup \
		-- add-port br-bond mgnt -- set interface mgnt type=internal
	ovs-appctl bond/set-active-member bond1 eth1
	ip -n lh-node link set mgnt address $MGNT_MAC up
	ip -n lh-node addr add "$HOST/24" broadcast + dev mgnt
	lh_neigh lh-node mgnt "$PEER" $PEER_MAC
	lh_neigh lh-server eth0 "$HOST" $MGNT_MAC
	# All know where all are, before anything breaks.
	ip netns exec lh-node ping -n -c 2 -i 0.2 -W 1 "$PEER"
	[ "$1" = healthy ] || ip -n lh-switch link set port1 nomaster
}

lh_topology "$@"
