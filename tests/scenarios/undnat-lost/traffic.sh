#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client tcp-connect --from "$CLIENT_AT:60170" --to "$SERVICE_AT:9443" --timeout-ms 2500 >"$LH_DIR/service.log"
lh_peer lh-client tcp-connect --from "$CLIENT_AT:60172" --to "$SERVER_AT:9443" >"$LH_DIR/direct.log"
ovs-appctl dpctl/dump-conntrack >"$LH_DIR/conntrack.log"
