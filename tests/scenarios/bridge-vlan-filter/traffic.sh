#!/bin/sh
. "$(dirname "$0")/../lib.sh"

ip netns exec lh-client "$LH_PEER" frame --dev eth0 --vlan 20 --count 3 \
	--src-mac $CLIENT_MAC --dst-mac $SERVER_MAC --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444"
