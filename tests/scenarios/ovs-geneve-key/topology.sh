#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_module geneve
	key=42
	[ "$1" = healthy ] || key=43
	lh_ovs_tunnel geneve geneve id "$key"
}

lh_topology "$@"
