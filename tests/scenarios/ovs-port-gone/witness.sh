#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "packets for port 2" "$(lh_hits br0 in_port=1)" -eq 3
	lh_want "echoes" "$(lh_echoed)" -eq 0
else
	lh_want "echoes" "$(lh_echoed)" -eq 3
fi
lh_witness
