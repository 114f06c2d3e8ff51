#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

translated=$(grep -c "orig=(src=$CLIENT,dst=$SERVICE,sport=6017[0-4].*zone=1" "$LH_DIR/conntrack.log" || true)
lh_want "connections to the service, translated in zone 1" "$translated" -eq 5
lh_want "the direct connection" "$(cat "$LH_DIR/direct.log")" = "echoed=64 same=true"
good=$(grep -c "^echoed=64 same=true" "$LH_DIR/service.log" || true)
broken=$(sed -n 3p "$LH_DIR/service.log" | cut -d: -f1)
# A reset is the client's answer to an address that it has not asked.
resets=$(lh_resets lh-client)
if [ "$1" = faulty ]; then
	lh_want "connections to the service that worked" "$good" -eq 4
	lh_want "the third" "$broken" = "not connected"
	lh_want "resets by the client" "$resets" -ge 1
else
	lh_want "connections to the service that worked" "$good" -eq 5
	lh_want "resets by the client" "$resets" -eq 0
fi
lh_witness
