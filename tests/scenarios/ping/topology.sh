#!/bin/sh
. "$(dirname "$0")/../lib.sh"

build() {
	lh_routed
}

lh_topology "$@"
