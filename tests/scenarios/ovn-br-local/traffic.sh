#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

# It pauses so that no segment is still on its way through ovs-vswitchd when the connection ends.
lh_peer lh-node tcp-connect --from 192.168.88.2:3636 --to "$SERVICE:443" \
	--hold-ms 1000 --pause-ms 1000 >"$LH_DIR/client.log"
ovs-appctl dpctl/dump-conntrack >"$LH_DIR/conntrack.log"
