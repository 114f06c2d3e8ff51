#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

cat "$LH_DIR/client.log"
service=$(sed -n 1p "$LH_DIR/client.log")
direct=$(sed -n 2p "$LH_DIR/client.log")
refused=$(ip netns exec lh-node conntrack -S | grep -o 'insert_failed=[0-9]*' | awk -F= '{ n += $2 } END { print n }')
lh_want "the service's connection" "$service" = "echoed=64 same=true"
if [ "$1" = faulty ]; then
	lh_want "the direct connection" "${direct%%:*}" = "not connected"
	lh_want "connections that conntrack could not confirm" "$refused" -ge 1
else
	lh_want "the direct connection" "$direct" = "echoed=64 same=true"
	lh_want "connections that conntrack could not confirm" "$refused" -eq 0
fi
lh_witness
