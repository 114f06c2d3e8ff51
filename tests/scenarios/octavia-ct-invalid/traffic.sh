#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

# The payload is all ones, so that the one byte that is changed does change.
lh_ping lh-node "$AMPHORA" -s 64 -p ff
