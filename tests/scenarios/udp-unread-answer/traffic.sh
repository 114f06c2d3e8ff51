#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count 3 --linger-ms 500
