#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# Long enough for the SYN and two retransmissions of it at least.
lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --timeout-ms 3500
