#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# The router gives up after three unanswered questions, a second apart, and says so to the client.
lh_peer lh-client udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --await-ms 5000
