#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

metered=$(ovs-ofctl -O OpenFlow13 meter-stats br0 | sed -n 's/.*0: packet_count:\([0-9]*\).*/\1/p')
lh_want "packets that met the meter" "$(lh_hits br0 in_port=1)" -eq 20
if [ "$1" = faulty ]; then
	lh_want "packets that the meter dropped" "$metered" -ge 10
else
	lh_want "packets that the meter dropped" "$metered" -eq 0
fi
lh_witness
