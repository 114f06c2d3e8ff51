#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_module ip_gre
	key=42
	[ "$1" = healthy ] || key=43
	lh_ovs_tunnel gre gretap local 192.0.2.2 key "$key"
}

lh_topology "$@"
