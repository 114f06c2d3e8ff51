#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "packets that the remote end got" "$(lh_rx lh-remote underlay)" -ge 3
	lh_want "packets that it unwrapped" "$(lh_rx lh-remote tunnel)" -eq 0
	lh_want "echoes" "$(lh_echoed)" -eq 0
else
	lh_want "echoes" "$(lh_echoed)" -eq 3
fi
lh_witness
