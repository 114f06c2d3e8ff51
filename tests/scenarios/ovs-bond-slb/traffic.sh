#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_peer lh-server udp-send --from "$PEER:4000" --to "$ALL:4444" --broadcast --count 3 --gap-ms 200 >"$LH_DIR/client.log"
