#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

translated=$(grep -c "orig=(src=$CLIENT,dst=$SERVICE,sport=60170.*zone=1" "$LH_DIR/conntrack.log" || true)
lh_want "connections to the service, translated in zone 1" "$translated" -eq 1
lh_want "the direct connection" "$(cat "$LH_DIR/direct.log")" = "echoed=64 same=true"
# A reset is the client's answer to an address that it has not asked.
resets=$(lh_resets lh-client)
if [ "$1" = faulty ]; then
	lh_want "resets by the client" "$resets" -ge 1
	lh_want "the service's connection" "$(cut -d: -f1 "$LH_DIR/service.log")" = "not connected"
else
	lh_want "resets by the client" "$resets" -eq 0
	lh_want "the service's connection" "$(cat "$LH_DIR/service.log")" = "echoed=64 same=true"
fi
lh_witness
