#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

received=$(lh_datagrams lh-node)
if [ "$1" = faulty ]; then
	lh_want "datagrams received" "$received" -eq 0
else
	lh_want "datagrams received" "$received" -eq 3
fi
lh_witness
