#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_want "packets sent to port 2" "$(lh_hits br0 in_port=1)" -ge 3
lh_want_of "$1" "datagrams received" "$(lh_datagrams lh-server)" 0 3
lh_witness
