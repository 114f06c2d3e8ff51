#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:8443" --hold-ms 2000 &
first=$!
lh_tracked lh-router 1 ASSURED
lh_peer lh-client tcp-connect --from "$CLIENT2_AT:4000" --to "$SERVER_AT:8443" --timeout-ms 1500
wait $first
