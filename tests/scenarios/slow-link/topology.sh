#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
	lh_hold sink.log lh-client udp-listen --on "$CLIENT_AT:9000" --count 99
	tc -n lh-router qdisc add dev eth-c root tbf rate 100kbit burst 1600 limit 1000000
}

lh_topology "$@"
