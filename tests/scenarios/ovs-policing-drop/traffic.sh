#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_peer lh-client udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count 20 --size 1000 >"$LH_DIR/client.log"
