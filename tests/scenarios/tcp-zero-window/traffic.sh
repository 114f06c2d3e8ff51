#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# A client whose write hangs is ended after its time.
lh_peer lh-client --limit 3 tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --bytes 600000 || true
