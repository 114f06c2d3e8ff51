#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_module sch_ingress act_police cls_matchall cls_basic
	lh_ovs_pair
	[ "$1" = healthy ] ||
		ovs-vsctl set interface p-c ingress_policing_rate=8 ingress_policing_burst=16
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,actions=output:2
		priority=100,in_port=2,actions=output:1
	FLOWS
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
}

lh_topology "$@"
