#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_uplinks
	# Any ARP is believed at once, not only after the usual second: as a switch or router that
	# keeps no such grace does.
	lh_set lh-server net/ipv4/neigh/eth0/locktime 0
	# As on the host of the story: the bridge has taken the MAC address of a member.
	lh_ovs_bond balance-slb -- set bridge br-bond other_config:hwaddr='"'$ETH1_MAC'"'
	ip -n lh-node route add 169.254.0.0/16 dev mgnt metric 1007
	if [ "$1" = faulty ]; then
		ip -n lh-node route add 169.254.0.0/16 dev eth0 metric 1003
		ip -n lh-node route add 169.254.0.0/16 dev eth1 metric 1002
	fi
	# Both know each other before it happens, by ARP.
	ip netns exec lh-node ping -n -c 3 -i 0.2 -W 1 "$PEER"
}

lh_topology "$@"
