#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:4444"
	port=4445
	[ "$1" = healthy ] || port=4444
	for rule in "-m conntrack --ctstate ESTABLISHED -j ACCEPT" \
		"-p tcp --dport $port -m conntrack --ctstate NEW -j DROP" \
		"-p udp -j DROP"; do
		ip netns exec lh-router "$IPTABLES" -w -A FORWARD $rule ||
			lh_skip "this kernel has no $IPTABLES"
	done
}

lh_topology "$@"
