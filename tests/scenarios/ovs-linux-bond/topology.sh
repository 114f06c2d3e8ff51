#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

# Both uplinks as bond0 of the kernel, a port of br-bond.
build() {
	lh_module bonding
	lh_uplinks
	for dev in eth0 eth1; do
		ip -n lh-node link set $dev down
	done
	ip -n lh-node link add bond0 type bond mode active-backup miimon 100
	ip -n lh-node link set eth0 master bond0
	ip -n lh-node link set eth1 master bond0
	ip -n lh-node link set bond0 up
	ip netns exec lh-node sh -c 'echo eth0 >/sys/class/net/bond0/bonding/active_slave'
	ovs-vsctl add-br br-bond -- add-port br-bond bond0
	lh_mgnt
	lh_acquainted
	# Frames from the host still pass; those for it are sent to the other port.
	[ "$1" = healthy ] || {
		ip -n lh-switch link set port0 type bridge_slave learning off flood off bcast_flood off
		bridge -n lh-switch fdb replace $MGNT_MAC dev port1 master static
	}
}

lh_topology "$@"
