#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# Three questions, a second apart, or one and its answer.
lh_peer lh-client udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --await-ms 3500
