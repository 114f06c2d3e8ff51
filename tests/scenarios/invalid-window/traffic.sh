#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --hold-ms 1000 &
client=$!
lh_tracked lh-router 1 ASSURED
# The client's initial sequence number is random, and so is how far off this one is.
lh_faulty && lh_peer lh-client frame --dev eth0 --src-mac $CLIENT_MAC --dst-mac $ROUTER_C_MAC \
	--from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --tcp R --seq 3000000000
wait $client
