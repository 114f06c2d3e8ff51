#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "packets for port 2" "$(lh_hits br0 in_port=1)" -ge 2
	lh_want "echoes" "$(lh_echoed)" -eq 2
else
	lh_want "echoes" "$(lh_echoed)" -eq 4
fi
lh_witness
