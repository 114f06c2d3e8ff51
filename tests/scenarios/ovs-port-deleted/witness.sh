#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || lh_want "packets for port 2" "$(lh_hits br0 in_port=1)" -ge 2
lh_want_of "$1" "echoes" "$(lh_echoed)" 2 4
lh_witness
