#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "packets that reached the server" "$(lh_rx lh-server eth0)" -eq 0
	lh_want "echoes" "$(lh_echoed)" -eq 0
else
	lh_want "echoes" "$(lh_echoed)" -eq 3
fi
lh_witness
