#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_switched
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444"
	if [ "$1" = faulty ]; then
		ip netns exec lh-server nft -f - <<-RULES
			table arp filter {
				chain input {
					type filter hook input priority filter; policy accept;
					arp operation request drop
				}
			}
		RULES
	fi
}

lh_topology "$@"
