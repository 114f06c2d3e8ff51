#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-host udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count 3
