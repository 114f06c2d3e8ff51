#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "packets that the rule dropped" "$(lh_hits br0 table=7,udp$V6)" -eq 3
	lh_want "echoes" "$(lh_echoed)" -eq 0
else
	lh_want "echoes" "$(lh_echoed)" -eq 3
fi
lh_witness
