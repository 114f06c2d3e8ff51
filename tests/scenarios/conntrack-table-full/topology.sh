#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# The limit is one for all namespaces of the machine: it is put back as it was. (`lh_topology` calls
# `lh_down` before it builds, too.)
LIMIT=/proc/sys/net/netfilter/nf_conntrack_max
SAVED=/run/lh-conntrack-max

build() {
	lh_routed
	lh_addr lh-client eth0 "$CLIENT2"
	lh_neigh lh-router eth-c "$CLIENT2" $CLIENT_MAC
	lh_hold listener.log lh-server tcp-listen --on "$SERVER_AT:8443" --count 3
	lh_chain lh-router firewall filter forward filter "ct state established,related,new accept"
	[ "$1" = healthy ] && return
	cat $LIMIT >$SAVED
	echo 2 >$LIMIT
}

if [ -e $SAVED ]; then
	cat $SAVED >$LIMIT
	rm $SAVED
fi
lh_topology "$@"
