#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# Time for a second SYN, after one second, and not for a third, after three.
lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --timeout-ms 2000
