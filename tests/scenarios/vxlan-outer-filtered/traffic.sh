#!/bin/sh
. "$(dirname "$0")/../lib.sh"

lh_peer lh-client udp-send --from "$INNER_CLIENT_AT:4000" --to "$INNER_SERVER_AT:4444" --count 3
