#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold tcp.log lh-server tcp-listen --on "$SERVER_AT:8443" --count 100
	lh_hold udp.log lh-server udp-listen --on "$SERVER_AT:8443" --echo
	ip netns exec lh-router nft -f - <<-RULES
		table inet service {
			chain prerouting {
				type nat hook prerouting priority dstnat; policy accept;
				$NFT_IP daddr $SERVICE meta l4proto { tcp, udp } th dport 444 ct mark set 1
				$NFT_IP daddr $SERVICE meta l4proto { tcp, udp } th dport { 443, 444 } dnat $NFT_IP to $SERVER_AT:8443
				$NFT_IP daddr $SERVICE meta l4proto { icmp, ipv6-icmp } dnat $NFT_IP to $SERVER
			}
			chain postrouting {
				type nat hook postrouting priority srcnat; policy accept;
				ct mark 1 accept
				oifname "eth-s" masquerade
			}
		}
	RULES
}

lh_topology "$@"
