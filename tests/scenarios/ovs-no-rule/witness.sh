#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || lh_want "packets sent on to table 10" "$(lh_hits br0 table=0,in_port=1)" -eq 3
lh_want_of "$1" "echoes" "$(lh_echoed)" 0 3
lh_witness
