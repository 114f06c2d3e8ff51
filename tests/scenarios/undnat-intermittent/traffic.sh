#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

for port in 60170 60171 60172 60173 60174; do
	lh_peer lh-client tcp-connect --from "$CLIENT_AT:$port" --to "$SERVICE_AT:9443" --timeout-ms 2500
done >"$LH_DIR/service.log"
lh_peer lh-client tcp-connect --from "$CLIENT_AT:60180" --to "$SERVER_AT:9443" >"$LH_DIR/direct.log"
ovs-appctl dpctl/dump-conntrack >"$LH_DIR/conntrack.log"
