#!/bin/sh
. "$(dirname "$0")/../lib.sh"

fragment() {
	lh_peer lh-client frame --dev eth0 --src-mac $CLIENT_MAC --dst-mac $SERVER_MAC \
		--from "$CLIENT_AT:4000" --to "$SERVER_AT:5000" --fragment "$1"
}

fragment first
[ "$(cat "$LH_DIR/twin")" = faulty ] || fragment last
