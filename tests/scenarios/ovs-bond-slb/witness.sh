#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

got=$(lh_rx lh-node mgnt)
sleep 0.1
received=$(ip netns exec lh-node awk '/^Udp:/ && $2 != "InDatagrams" { print $2 }' /proc/net/snmp)
lh_want "packets at mgnt" "$got" -ge 0
if [ "$1" = faulty ]; then
	lh_want "datagrams received" "$received" -eq 0
else
	lh_want "datagrams received" "$received" -eq 3
fi
lh_witness
