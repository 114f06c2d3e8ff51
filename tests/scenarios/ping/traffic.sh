#!/bin/sh
. "$(dirname "$0")/../lib.sh"

ip netns exec lh-client ping -n -c 3 -i 0.2 -W 2 "$SERVER"
