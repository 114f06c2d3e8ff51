#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_uplinks
	lh_ovs_bond balance-slb
	lh_acquainted
	[ "$1" = healthy ] || ip -n lh-switch link set port1 type bridge_slave bcast_flood off
	lh_hold listener.log lh-node udp-listen --on 0.0.0.0:4444
}

lh_topology "$@"
