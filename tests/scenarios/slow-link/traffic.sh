#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# 20 kB before it: the answer to the SYN waits for 1.6 s.
lh_peer lh-server udp-send --to "$CLIENT_AT:9000" --count 20 --size 1000 --gap-ms 0
lh_peer lh-client tcp-connect --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --timeout-ms 8000
