#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# The service's connection is held open while the direct one from the same port is tried.
lh_peer lh-client tcp-connect --from "$CLIENT_AT:36440" --to "$SERVICE_AT:9443" --then "$SERVER_AT:9443" \
	--timeout-ms 2500 >"$LH_DIR/client.log"
