#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# It hangs in the black hole, and is ended.
lh_peer lh-client --limit 3 tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:8443" --bytes 20000 --keep-open || :
