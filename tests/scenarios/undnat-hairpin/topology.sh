#!/bin/sh
. "$(dirname "$0")/../lib.sh"

BRIDGE_MAC=02:00:00:00:01:03

build() {
	lh_switched
	ip -n lh-switch link set br0 address $BRIDGE_MAC
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	lh_addr lh-switch br0 "$ROUTER"
	lh_set lh-switch net/ipv4/ip_forward 1
	lh_set lh-switch net/ipv4/conf/br0/send_redirects 0
	lh_set lh-switch net/ipv4/conf/all/send_redirects 0
	lh_set lh-switch net/ipv6/conf/all/forwarding 1
	# As on a node where br_netfilter is not loaded: what is bridged does not pass conntrack.
	if [ -d /proc/sys/net/bridge ]; then
		lh_set lh-switch net/bridge/bridge-nf-call-iptables 0
		lh_set lh-switch net/bridge/bridge-nf-call-ip6tables 0
	fi
	ip -n lh-client route add default via "$ROUTER"
	lh_neigh lh-client eth0 "$ROUTER" $BRIDGE_MAC
	lh_neigh lh-server eth0 "$ROUTER" $BRIDGE_MAC
	lh_neigh lh-server eth0 "$CLIENT" $CLIENT_MAC
	lh_neigh lh-client eth0 "$SERVER" $SERVER_MAC
	lh_neigh lh-switch br0 "$CLIENT" $CLIENT_MAC
	lh_neigh lh-switch br0 "$SERVER" $SERVER_MAC
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443"
	lh_service lh-switch
	[ "$1" = healthy ] && lh_chain lh-switch hairpin nat postrouting srcnat 'oifname "br0" masquerade'
	return 0
}

lh_topology "$@"
