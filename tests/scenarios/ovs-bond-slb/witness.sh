#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

received=$(lh_datagrams lh-node)
lh_want_of "$1" "datagrams received" "$received" 0 3
lh_witness
