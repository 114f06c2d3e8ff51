#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "flows of br0" "$(ovs-ofctl -O OpenFlow13 dump-flows br0 | grep -c in_port || true)" -eq 0
	lh_want "echoes" "$(lh_echoed)" -eq 2
else
	lh_want "echoes" "$(lh_echoed)" -eq 4
fi
lh_witness
