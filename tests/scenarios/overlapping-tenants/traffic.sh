#!/bin/sh
. "$(dirname "$0")/../lib.sh"

for ns in lh-client lh-host; do
	lh_peer $ns udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count 3 --await-ms 300 &
done
wait
