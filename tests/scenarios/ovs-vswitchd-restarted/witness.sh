#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || lh_want "flows of br0" "$(ovs-ofctl -O OpenFlow13 dump-flows br0 | grep -c in_port || true)" -eq 0
lh_want_of "$1" "echoes" "$(lh_echoed)" 2 4
lh_witness
