#!/bin/sh
. "$(dirname "$0")/../lib.sh"

bad=
lh_faulty && bad=--bad-checksum
lh_peer lh-client frame --dev eth0 --src-mac $CLIENT_MAC --dst-mac $ROUTER_C_MAC \
	--from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" $bad
