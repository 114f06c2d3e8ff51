#!/bin/sh
. "$(dirname "$0")/../lib.sh"

if lh_faulty; then
	lh_peer lh-client frame --dev eth0 --src-mac $CLIENT_MAC --dst-mac $SERVER_MAC \
		--from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --tcp PA --seq 4000 --ack 5000
else
	lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444"
fi
