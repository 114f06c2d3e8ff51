# Sourced by the scenarios' scripts, never run. What the harness hands over in the environment is
# described in README.md of this folder.
#
# Readiness is always a handshake: what runs in the background is waited for until it says `ready`.
set -eu

NAMESPACES="lh-client lh-router lh-switch lh-server lh-host"

# lh_netns NAME...: network namespaces that stay quiet by themselves (no DAD, no router
# solicitations, no multicast listener reports to mix with the traffic).
lh_netns() {
	for ns; do
		ip netns add "$ns"
		ip netns exec "$ns" sh -c '
			cd /proc/sys/net
			for scope in all default; do
				echo 0 >ipv6/conf/$scope/accept_dad
				echo 0 >ipv6/conf/$scope/accept_ra
				echo 0 >ipv6/conf/$scope/router_solicitations
				echo 0 >ipv4/conf/$scope/rp_filter
			done'
		ip -n "$ns" link set lo up
	done
}

# lh_veth NS1 DEV1 MAC1 NS2 DEV2 MAC2: a veth pair between two namespaces, up.
lh_veth() {
	ip -n "$1" link add "$2" address "$3" type veth peer name "$5" address "$6" netns "$4"
	ip -n "$1" link set "$2" up
	ip -n "$4" link set "$5" up
}

# lh_addr NS DEV ADDRESS [LENGTH]: an address, by default with the family's prefix length, usable at once.
lh_addr() {
	case $3 in
	*:*) ip -n "$1" addr add "$3/${4:-$LENGTH}" dev "$2" nodad ;;
	*) ip -n "$1" addr add "$3/${4:-$LENGTH}" dev "$2" ;;
	esac
}

# lh_set NS PATH VALUE: a sysctl of a namespace, PATH under /proc/sys.
lh_set() {
	ip netns exec "$1" sh -c 'echo "$1" >"/proc/sys/$0"' "$2" "$3"
}

# lh_neigh NS DEV ADDRESS MAC: a neighbour that nobody has to ask for.
lh_neigh() {
	ip -n "$1" neigh replace "$3" lladdr "$4" dev "$2" nud permanent
}

CLIENT_MAC=02:00:00:00:00:01
ROUTER_C_MAC=02:00:00:00:00:02
ROUTER_S_MAC=02:00:00:00:00:03
SERVER_MAC=02:00:00:00:00:04

# Client and server have their addresses, $CLIENT and $SERVER, and need not ask for each other.
lh_ends() {
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	lh_neigh lh-client eth0 "$SERVER" $SERVER_MAC
	lh_neigh lh-server eth0 "$CLIENT" $CLIENT_MAC
}

# client eth0 --- eth0 server, with their addresses $CLIENT and $SERVER.
lh_pair() {
	lh_netns lh-client lh-server
	lh_veth lh-client eth0 $CLIENT_MAC lh-server eth0 $SERVER_MAC
	lh_ends
}

# client eth0 --- eth-c router eth-s --- eth0 server, default routes through the router.
lh_routed() {
	lh_netns lh-client lh-router lh-server
	lh_veth lh-client eth0 $CLIENT_MAC lh-router eth-c $ROUTER_C_MAC
	lh_veth lh-router eth-s $ROUTER_S_MAC lh-server eth0 $SERVER_MAC
	lh_set lh-router net/ipv4/ip_forward 1
	lh_set lh-router net/ipv6/conf/all/forwarding 1
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-router eth-c "$ROUTER_C"
	lh_addr lh-router eth-s "$ROUTER_S"
	lh_addr lh-server eth0 "$SERVER"
	ip -n lh-client route add default via "$ROUTER_C"
	ip -n lh-server route add default via "$ROUTER_S"
	lh_neigh lh-client eth0 "$ROUTER_C" $ROUTER_C_MAC
	lh_neigh lh-router eth-c "$CLIENT" $CLIENT_MAC
	lh_neigh lh-router eth-s "$SERVER" $SERVER_MAC
	lh_neigh lh-server eth0 "$ROUTER_S" $ROUTER_S_MAC
}

# client eth0 --- port-c [br0 of switch] port-s --- eth0 server.
lh_switched() {
	lh_netns lh-client lh-switch lh-server
	ip -n lh-switch link add br0 type bridge mcast_snooping 0 forward_delay 0
	lh_veth lh-client eth0 $CLIENT_MAC lh-switch port-c 02:00:00:00:01:01
	lh_veth lh-switch port-s 02:00:00:00:01:02 lh-server eth0 $SERVER_MAC
	ip -n lh-switch link set port-c master br0
	ip -n lh-switch link set port-s master br0
	ip -n lh-switch link set br0 up
}

# client eth0 --- port-c [br0 of switch] tap0 --- a guest that reads. The frames are tagged by who
# sends them and the guest takes them as they are: nothing here needs the kernel's VLAN devices.
lh_vlan_trunk() {
	lh_netns lh-client lh-switch
	ip -n lh-switch link add br0 type bridge mcast_snooping 0 forward_delay 0
	lh_veth lh-client eth0 $CLIENT_MAC lh-switch port-c 02:00:00:00:01:01
	lh_hold guest.log lh-switch tap --name tap0 --guest reads
	ip -n lh-switch link set port-c master br0
	ip -n lh-switch link set tap0 master br0 up
	ip -n lh-switch link set br0 up
}

# lh_chain NS TABLE TYPE HOOK PRIORITY RULE: a table of nftables' own with one rule, in a chain named as its hook.
lh_chain() {
	ip netns exec "$1" nft -f - <<-RULES
		table inet $2 {
			chain $4 {
				type $3 hook $4 priority $5; policy accept;
				$6
			}
		}
	RULES
}

# lh_service NS: the namespace translates the service address, TCP port 443, to the server's port 8443.
lh_service() {
	lh_chain "$1" service nat prerouting dstnat \
		"$NFT_IP daddr $SERVICE tcp dport 443 dnat $NFT_IP to $SERVER_AT:8443"
}

# lh_no_invalid NS: the namespace forwards nothing that conntrack cannot place.
lh_no_invalid() {
	lh_chain "$1" filter filter forward filter "ct state invalid drop"
}

# lh_refuse NS MATCH: the namespace's own firewall drops what comes to it and matches.
lh_refuse() {
	lh_chain "$1" filter filter input filter "$2 drop"
}

# lh_untracked NS MATCH: what comes in there and matches passes conntrack by.
lh_untracked() {
	lh_chain "$1" untracked filter prerouting raw "$2 notrack"
}

# lh_tracked NS N WORD: waits until the namespace's conntrack has N entries with this word, 5 s at most.
lh_tracked() {
	tries=0
	until [ "$(ip netns exec "$1" conntrack -L 2>/dev/null | grep -c "$3")" -ge "$2" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.05
	done
}

# lh_twin TWIN, in a topology, and lh_faulty, in its traffic: for a fault that comes with the traffic.
lh_twin() {
	echo "$1" >"$LH_DIR/twin"
}
lh_faulty() {
	[ "$(cat "$LH_DIR/twin")" = faulty ]
}

# lh_skip REASON: this machine cannot have the topology; the scenario is skipped by name.
lh_skip() {
	echo "$1" >&2
	exit 77
}

# lh_vxlan NS DEV LOCAL REMOTE VNI INNER_ADDRESS INNER_MAC: vxlan0 over DEV, with an address inside.
lh_vxlan() {
	ip -n "$1" link add vxlan0 address "$7" type vxlan id "$5" local "$3" remote "$4" \
		dev "$2" dstport 4789
	ip -n "$1" link set vxlan0 up
	lh_addr "$1" vxlan0 "$6"
}

# lh_hold LOG NS PROGRAM ARG...: runs a peer in the namespace in the background until it is ready.
# It is left running: lh_down, or the end of its time, ends it. Its process id is in $HELD.
lh_hold() {
	log=$1 ns=$2
	shift 2
	fifo=$LH_DIR/ready.$$
	rm -f "$fifo"
	mkfifo "$fifo"
	ip netns exec "$ns" "$LH_PEER" --limit "${LH_LIMIT:-120}" "$@" >"$fifo" 2>"$LH_DIR/$log" &
	HELD=$!
	# `cat` takes over the rest, so that the peer never writes into a closed pipe. (By a descriptor of
	# its own: what runs in the background is given an empty standard input.)
	exec 3<"$fifo"
	read -r line <&3 || line=
	cat <&3 >>"$LH_DIR/$log" &
	exec 3<&-
	rm -f "$fifo"
	if [ "$line" != ready ]; then
		echo "$* is not ready: $(cat "$LH_DIR/$log")" >&2
		return 1
	fi
}

# lh_peer NS PROGRAM ARG...: runs a peer in the namespace to its end.
lh_peer() {
	ns=$1
	shift
	ip netns exec "$ns" "$LH_PEER" "$@"
}

# Ends what was held (by its id) and removes the namespaces; nothing there is fine too.
lh_down() {
	for ns in $NAMESPACES; do
		[ -e "/run/netns/$ns" ] || continue
		for pid in $(ip netns pids "$ns"); do
			kill -KILL "$pid" 2>/dev/null || true
		done
		ip netns del "$ns"
	done
}

# lh_topology ACTION TWIN: what every topology.sh ends with; `build TWIN` is the scenario's own.
lh_topology() {
	case ${1-} in
	up)
		lh_down
		build "${2:?healthy or faulty}"
		;;
	down) lh_down ;;
	*)
		echo "usage: topology.sh up healthy|faulty | down" >&2
		return 2
		;;
	esac
}
