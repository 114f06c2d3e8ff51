#!/bin/bash
# What a UDP packet costs on its way veth → Open vSwitch → veth, with different watchers: run in a
# guest that counts instructions (one nanosecond there is one), by `cargo xtask bench`.
# Usage: ovs-cost.sh LASTHOP PEER ROUNDS; prints `ROW packets=N ns=T` lines.
LASTHOP=$1 LH_PEER=$2 ROUNDS=$3
export LH_PEER LH_DIR=/tmp/ovs-cost CLIENT=10.77.1.1 SERVER=10.77.1.2 LENGTH=24
mkdir -p "$LH_DIR"
scenarios=$(dirname "$0")/../scenarios
. "$scenarios/lib.sh"
. "$scenarios/lib-ovs.sh"

lh_down
trap lh_down EXIT
lh_ovs_pair
lh_flows br0 <<-FLOWS
	priority=100,in_port=1,actions=output:2
	priority=100,in_port=2,actions=output:1
FLOWS

# measure ROW: the rounds of one row.
measure() {
	"$LH_PEER" --limit 600 batches --from lh-client $CLIENT:4000 --to lh-server $SERVER:4444 \
		--rounds "$ROUNDS" | sed "s/^/$1 /"
}

# ready LOG WORDS: waits until a watcher in the background says so.
ready() {
	until grep -q "$2" "$1"; do
		kill -0 $! || { cat "$1" >&2; exit 1; }
		sleep 0.1
	done
}

# watched ROW WORDS COMMAND...: the rounds with a watcher.
watched() {
	row=$1 words=$2
	shift 2
	"$@" >/dev/null 2>"$LH_DIR/$row.log" &
	watcher=$!
	ready "$LH_DIR/$row.log" "$words"
	measure "$row"
	kill -INT $watcher
	wait $watcher || true
}

measure untraced
watched nothing 'lasthop: ready:' "$LASTHOP" trace 'udp and dst host 10.79.0.1' --json
watched all 'lasthop: ready:' "$LASTHOP" trace "udp and dst host $SERVER" --json
watched tcpdump 'listening on' ip netns exec lh-node tcpdump -n -i p-c -w /dev/null 'udp and dst host 10.79.0.1'
measure untraced-again
