#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_ovs_pair
	tag=10
	[ "$1" = healthy ] || tag=20
	ovs-vsctl set port p-c tag=10 -- set port p-s tag=$tag
	echo actions=normal | lh_flows br0
	# The bridge's own port is in every VLAN; nobody is there to hear.
	ovs-ofctl mod-port br0 br0 no-flood
	lh_echo_server
}

lh_topology "$@"
