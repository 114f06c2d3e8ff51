#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# Two that stand, and a third.
lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:8443" --hold-ms 2000 &
first=$!
lh_peer lh-client tcp-connect --from "$CLIENT_AT:4001" --to "$SERVER_AT:8443" --hold-ms 2000 &
second=$!
lh_tracked lh-router 2 ASSURED
lh_peer lh-client tcp-connect --from "$CLIENT2_AT:4000" --to "$SERVER_AT:8443" --timeout-ms 1500
wait $first $second
