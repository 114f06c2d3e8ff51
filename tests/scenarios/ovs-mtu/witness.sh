#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

errors=$(ip netns exec lh-node ovs-dpctl show -s | sed -n '/: p-s/,/collisions/s/.*TX packets:.* errors:\([0-9]*\).*/\1/p')
reached=$(lh_rx lh-server eth0)
if [ "$1" = faulty ]; then
	lh_want "transmit errors of the port" "$errors" -eq 3
	lh_want "packets that reached the server" "$reached" -eq 0
else
	lh_want "packets that reached the server" "$reached" -ge 3
fi
lh_witness
