#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || lh_want "datagrams received" "$(lh_datagrams lh-server)" -eq 0
lh_want_of "$1" "echoes" "$(lh_echoed)" 0 3
lh_witness
