#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

# Something looks for a cloud's metadata service; nobody has the address, but the question who has
# it is heard by all.
lh_peer lh-node udp-send --from "$HOST:4000" --to 169.254.169.254:80 --count 1 >"$LH_DIR/metadata.log"
lh_ping lh-node "$PEER"
# Before it heals: the peer asks again when it doubts its entry.
ip -n lh-server neigh show "$HOST" >"$LH_DIR/neighbour.log"
