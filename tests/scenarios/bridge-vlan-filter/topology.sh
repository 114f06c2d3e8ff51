#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_vlan_trunk
	ip -n lh-switch link set br0 type bridge vlan_filtering 1 vlan_default_pvid 0 ||
		lh_skip "this kernel has no bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)"
	ip netns exec lh-switch bridge vlan add vid 20 dev tap0
	# The fault: the trunk to the client carries another VLAN, not 20.
	vid=20
	[ "$1" = healthy ] || vid=10
	ip netns exec lh-switch bridge vlan add vid $vid dev port-c
}

lh_topology "$@"
