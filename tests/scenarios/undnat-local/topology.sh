#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	lh_chain lh-client service nat output -100 \
		"$NFT_IP daddr $SERVICE tcp dport 443 dnat $NFT_IP to $SERVER_AT:8443"
	[ "$1" = healthy ] || lh_untracked lh-client "tcp sport 8443"
}

lh_topology "$@"
