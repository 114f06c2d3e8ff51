#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

lh_echo 2
[ "$(cat "$LH_DIR/twin")" = healthy ] || ovs-vsctl del-port br0 p-s
lh_echo 2
