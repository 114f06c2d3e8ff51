#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || lh_want "packets that the rule dropped" "$(lh_hits br0 table=7,udp$V6)" -eq 3
lh_want_of "$1" "echoes" "$(lh_echoed)" 0 3
lh_witness
