#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_want "packets sent to port 2" "$(lh_hits br0 in_port=1)" -ge 3
if [ "$1" = faulty ]; then
	lh_want "datagrams received" "$(lh_datagrams lh-server)" -eq 0
else
	lh_want "datagrams received" "$(lh_datagrams lh-server)" -eq 3
fi
lh_witness
