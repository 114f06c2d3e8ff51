#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client --limit 4 tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:8443" --keep-open &
client=$!
lh_tracked lh-router 1 ASSURED
# The server has the data by then, and waits before it sends it back.
lh_faulty && ip -n lh-router addr del "$ROUTER_S/$LENGTH" dev eth-s
# It waits in vain for its answer, and is ended.
wait $client || :
