#!/bin/sh
. "$(dirname "$0")/../lib.sh"

# It has a socket of either family, and reads one.
ip netns exec lh-client ping -n -q -c 20 -i 0.2 "$OTHER" &
other=$!
ip netns exec lh-client ping -n -c 3 -i 0.2 -W 2 "$SERVER" || true
wait $other
