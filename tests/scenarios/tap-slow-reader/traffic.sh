#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# Slow enough for a guest that reads, too many for one that takes ten a second.
lh_peer lh-host udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count 100 --gap-ms 3
