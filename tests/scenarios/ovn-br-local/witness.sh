#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"
. "$(dirname "$0")/../lib-worker.sh"

lh_worker_witness "$1" "166"
