#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_addr lh-client eth0 "$CLIENT2"
	lh_neigh lh-router eth-c "$CLIENT2" $CLIENT_MAC
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443" --count 2
	# One port for everybody, or a range that has room for two.
	ports=5000-5009
	[ "$1" = healthy ] || ports=5000
	lh_chain lh-router outward nat postrouting srcnat \
		"oifname \"eth-s\" meta l4proto tcp snat $NFT_IP to $ROUTER_S_AT:$ports"
}

lh_topology "$@"
