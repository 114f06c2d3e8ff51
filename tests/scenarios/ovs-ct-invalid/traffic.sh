#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --timeout-ms 1500 >"$LH_DIR/client.log"
