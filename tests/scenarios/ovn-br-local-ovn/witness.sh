#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

translated=$(grep -c 'dst=198.223.0.1,.*zone=' "$LH_DIR/conntrack.log" || true)
lh_want "connections translated by the load balancer" "$translated" -ge 1
gw0=$(lh_rx lh-node ovn-k8s-gw0)
if [ "$1" = faulty ]; then
	lh_want "packets at ovn-k8s-gw0" "$gw0" -eq 0
	lh_want "the client says" "$(cut -d: -f1 "$LH_DIR/client.log")" = "not connected"
else
	lh_want "packets at ovn-k8s-gw0" "$gw0" -ge 3
	lh_want "the client says" "$(cat "$LH_DIR/client.log")" = "echoed=64 same=true"
fi
lh_witness
