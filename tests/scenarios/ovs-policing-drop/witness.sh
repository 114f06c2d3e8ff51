#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

seen=$(lh_hits br0 in_port=1)
if [ "$1" = faulty ]; then
	lh_want "packets that Open vSwitch saw" "$seen" -lt 15
else
	lh_want "packets that Open vSwitch saw" "$seen" -eq 20
fi
lh_witness
