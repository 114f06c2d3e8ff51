#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

if [ "$1" = faulty ]; then
	lh_want "invalid packets" "$(lh_hits br0 table=1,ct_state=+inv+trk)" -ge 1
	lh_want "the client says" "$(cut -d: -f1 "$LH_DIR/client.log")" = "not connected"
else
	lh_want "invalid packets" "$(lh_hits br0 table=1,ct_state=+inv+trk)" -eq 0
	lh_want "the client says" "$(cat "$LH_DIR/client.log")" = "echoed=64 same=true"
fi
lh_witness
