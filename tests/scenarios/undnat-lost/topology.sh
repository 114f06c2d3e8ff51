#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

CPE_MAC=0a:58:0a:80:03:ca
BAW_MAC=0a:58:0a:80:03:d6
GATEWAY_MAC=0a:58:0a:80:02:01
PORTS=59906

# CPE knows BAW both by its own address and by the service's.
build() {
	lh_ovs_pods $CPE_MAC $BAW_MAC $GATEWAY_MAC
	# What the answers meet after the port has been translated back.
	back="ct(zone=1,nat,table=5)"
	[ "$1" = healthy ] || back="output:3"
	lh_ovs_undnat "table=4,priority=100,tcp$V6,actions=$back"
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:9443" --count 100
}

lh_topology "$@"
