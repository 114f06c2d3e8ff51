#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

[ "$1" = healthy ] || {
	lh_want "packets that the remote end got" "$(lh_rx lh-remote underlay)" -ge 3
	lh_want "packets that it unwrapped" "$(lh_rx lh-remote tunnel)" -eq 0
}
lh_want_of "$1" "echoes" "$(lh_echoed)" 0 3
lh_witness
