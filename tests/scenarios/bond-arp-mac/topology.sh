#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

MGNT_MAC=2e:ce:c1:bb:f4:d9
PEER_MAC=04:40:a9:dc:61:a4
ETH0_MAC=10:51:72:29:1b:4f
ETH1_MAC=10:51:72:29:1b:50

# The host (lh-node): mgnt [br-bond] bond1 (eth0, eth1) --- a learning bridge (lh-switch) --- the
# BGP peer (lh-server).
build() {
	lh_netns lh-node lh-switch lh-server
	ip -n lh-switch link add br0 type bridge mcast_snooping 0 forward_delay 0
	lh_veth lh-node eth0 $ETH0_MAC lh-switch port0 02:00:00:00:02:00
	lh_veth lh-node eth1 $ETH1_MAC lh-switch port1 02:00:00:00:02:01
	lh_veth lh-server eth0 $PEER_MAC lh-switch port-p 02:00:00:00:02:02
	for dev in port0 port1 port-p br0; do
		[ $dev = br0 ] || ip -n lh-switch link set $dev master br0
		ip -n lh-switch link set $dev up
	done
	ip -n lh-server addr add "$PEER/24" dev eth0
	# Any ARP is believed at once, not only after the usual second: as a switch or router that
	# keeps no such grace does.
	lh_set lh-server net/ipv4/neigh/eth0/locktime 0
	lh_ovs_start
	# As on the host of the story: the bridge has taken the MAC address of a member.
	ovs-vsctl add-br br-bond -- set bridge br-bond other_config:hwaddr='"'$ETH1_MAC'"' \
		-- add-bond br-bond bond1 eth0 eth1 bond_mode=balance-slb \
		-- add-port br-bond mgnt -- set interface mgnt type=internal
	ovs-appctl bond/set-active-member bond1 eth1 >/dev/null
	ip -n lh-node link set mgnt address $MGNT_MAC up
	ip -n lh-node addr add "$HOST/24" dev mgnt
	ip -n lh-node route add 169.254.0.0/16 dev mgnt metric 1007
	if [ "$1" = faulty ]; then
		ip -n lh-node route add 169.254.0.0/16 dev eth0 metric 1003
		ip -n lh-node route add 169.254.0.0/16 dev eth1 metric 1002
	fi
	# Both know each other before it happens.
	ip netns exec lh-node ping -n -c 3 -i 0.2 -W 1 "$PEER"
}

lh_topology "$@"
