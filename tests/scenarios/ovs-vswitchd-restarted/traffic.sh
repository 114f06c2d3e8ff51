#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_echo 2
ovs-ofctl -O OpenFlow13 --no-stats dump-flows br0 | grep in_port >"$LH_DIR/saved"
lh_vswitchd_stop
lh_vswitchd_start
# The ports are back when ovs-vsctl has nothing left to wait for.
ovs-vsctl set open_vswitch . external_ids:restarted=yes
[ "$(cat "$LH_DIR/twin")" = faulty ] || lh_flows br0 <"$LH_DIR/saved"
lh_echo 2
