# Sourced after lib.sh by the scenarios with an Open vSwitch: a private one, with the kernel's
# datapath, in the namespace lh-node. Its sockets are in $OVS_RUNDIR, which the harness sets for
# lasthop too.

NAMESPACES="$NAMESPACES lh-node lh-remote"

# Seconds that what is held in the background may live: an emulated machine takes its time.
LH_LIMIT=300

OVS_RUNDIR=${OVS_RUNDIR:-$LH_DIR/ovs}
export OVS_RUNDIR OVS_DBDIR="$OVS_RUNDIR" OVS_LOGDIR="$OVS_RUNDIR" OVS_SYSCONFDIR="$OVS_RUNDIR"

# lh_module NAME...: kernel modules that the topology needs, loaded.
lh_module() {
	for module; do
		modprobe -q "$module" || lh_skip "this kernel has no module $module"
	done
}

# lh_ovs_start: a new, empty Open vSwitch in lh-node, which must exist. ovsdb-server and
# ovs-vswitchd detach when they can be asked; ovs-vsctl waits until what it wrote is in force.
lh_ovs_start() {
	lh_module openvswitch
	rm -rf "$OVS_RUNDIR"
	mkdir -p "$OVS_RUNDIR"
	ovsdb-tool create "$OVS_RUNDIR/conf.db" /usr/share/openvswitch/vswitch.ovsschema
	# In lh-node too, so that lh_down finds it.
	ip netns exec lh-node ovsdb-server "$OVS_RUNDIR/conf.db" --remote="punix:$OVS_RUNDIR/db.sock" \
		--pidfile --detach --no-chdir --log-file -vconsole:off
	ovs-vsctl --no-wait init
	lh_vswitchd_start
}

# lh_vswitchd_start: ovs-vswitchd on the database that is there.
lh_vswitchd_start() {
	lh_uptime 10
	ip netns exec lh-node ovs-vswitchd "unix:$OVS_RUNDIR/db.sock" \
		--pidfile --detach --no-chdir --log-file -vconsole:off
}

# lh_uptime SECONDS: waits until the machine has been up that long. Before 10 s ovs-vswitchd
# (lib/ovs-numa.c, lib/timeval.c) counts no processors, starts no upcall handlers, and each first
# packet is lost.
lh_uptime() {
	while read -r up _ </proc/uptime && [ "${up%%.*}" -lt "$1" ]; do
		sleep 0.2
	done
}

# lh_vswitchd_stop: ends ovs-vswitchd (the datapath stays in the kernel) and waits until it is gone.
lh_vswitchd_stop() {
	ovs-appctl exit
	# The last thing that it does.
	while [ -e "$OVS_RUNDIR/ovs-vswitchd.pid" ]; do
		sleep 0.05
	done
}

# lh_port NS DEV MAC OVS_DEV: a veth pair from the namespace to lh-node, where OVS_DEV becomes a
# port by name in an ovs-vsctl command of the caller's.
lh_port() {
	ip -n "$1" link add "$2" address "$3" type veth peer name "$4" netns lh-node
	ip -n "$1" link set "$2" up
	ip -n lh-node link set "$4" up
	# Checksums in the packets, where Open vSwitch and conntrack see them.
	ip netns exec "$1" ethtool -K "$2" tx off >/dev/null
}

# lh_ovs_pair: client eth0 --- p-c (port 1) [br0 of lh-node] p-s (port 2) --- eth0 server, with their
# addresses $CLIENT and $SERVER. br0 has no flows yet and forwards nothing without.
lh_ovs_pair() {
	lh_netns lh-client lh-node lh-server
	lh_port lh-client eth0 $CLIENT_MAC p-c
	lh_port lh-server eth0 $SERVER_MAC p-s
	lh_ends
	lh_ovs_start
	ovs-vsctl add-br br0 -- set-fail-mode br0 secure \
		-- add-port br0 p-c -- set interface p-c ofport_request=1 \
		-- add-port br0 p-s -- set interface p-s ofport_request=2
}

# lh_ovs_pods CPE-MAC BAW-MAC GATEWAY-MAC: two pods on one node, CPE (lh-client, $CLIENT) --- vethcpe
# (port 3) [br0] vethbaw (port 4) --- BAW (lh-server, $SERVER). CPE reaches all others by $GATEWAY. br0
# has no flows yet and forwards nothing without.
lh_ovs_pods() {
	lh_netns lh-client lh-node lh-server
	lh_port lh-client eth0 "$1" vethcpe
	lh_port lh-server eth0 "$2" vethbaw
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	ip -n lh-client route add default via "$GATEWAY"
	lh_neigh lh-client eth0 "$GATEWAY" "$3"
	lh_neigh lh-client eth0 "$SERVER" "$2"
	lh_neigh lh-server eth0 "$CLIENT" "$1"
	lh_ovs_start
	ovs-vsctl add-br br0 -- set-fail-mode br0 secure \
		-- add-port br0 vethcpe -- set interface vethcpe ofport_request=3 \
		-- add-port br0 vethbaw -- set interface vethbaw ofport_request=4
}

# lh_ovs_undnat RETURN-FLOWS: on lh_ovs_pods, a service whose address is translated in zone 1 and the
# source port in zone 2 (what it is translated to tells the service's connections from direct ones);
# the answers come back through zone 2 and then meet the flows given, which may go on to table 5.
lh_ovs_undnat() {
	lh_flows br0 <<-FLOWS
		table=0,priority=200,in_port=3,$IP,$NW_DST=$SERVICE,actions=resubmit(,1)
		table=0,priority=200,in_port=4,tcp$V6,tp_src=9443,tp_dst=59904/0xfff0,actions=resubmit(,3)
		table=0,priority=100,in_port=3,actions=output:4
		table=0,priority=100,in_port=4,actions=output:3
		table=1,priority=100,tcp$V6,tp_dst=9443,actions=ct(commit,zone=1,nat(dst=$SERVER_AT:9443),table=2)
		table=2,priority=100,tcp$V6,actions=set_field:$BAW_MAC->eth_dst,ct(commit,zone=2,nat(src=$CLIENT_AT:$PORTS),table=6)
		table=3,priority=100,tcp$V6,actions=ct(zone=2,nat,table=4)
		$1
		table=5,priority=100,actions=output:3
		table=6,priority=100,actions=output:4
	FLOWS
}

# lh_ovs_tunnel KIND REMOTE-KEY REMOTE-OPTION...: client eth0 --- p-c (port 1) [br0 of lh-node] tun0
# (port 2), a tunnel with key 42, over underlay --- underlay of lh-remote, whose tunnel device is made
# with the options given, [br0] port-s --- eth0 server.
lh_ovs_tunnel() {
	kind=$1
	shift
	lh_netns lh-client lh-node lh-remote lh-server
	lh_veth lh-node underlay 02:00:00:00:03:01 lh-remote underlay 02:00:00:00:03:02
	ip -n lh-node addr add 192.0.2.1/24 dev underlay
	ip -n lh-remote addr add 192.0.2.2/24 dev underlay
	lh_neigh lh-node underlay 192.0.2.2 02:00:00:00:03:02
	lh_neigh lh-remote underlay 192.0.2.1 02:00:00:00:03:01
	ip -n lh-remote link add tunnel mtu 1400 type "$@" remote 192.0.2.1
	lh_port lh-client eth0 $CLIENT_MAC p-c
	ip -n lh-server link add eth0 address $SERVER_MAC mtu 1400 type veth peer name port-s netns lh-remote
	ip -n lh-server link set eth0 up
	ip -n lh-remote link add br0 type bridge mcast_snooping 0 forward_delay 0
	for dev in tunnel port-s; do
		ip -n lh-remote link set $dev master br0 up
	done
	ip -n lh-remote link set br0 up
	lh_ends
	lh_ovs_start
	ovs-vsctl add-br br0 -- set-fail-mode br0 secure \
		-- add-port br0 p-c -- set interface p-c ofport_request=1 \
		-- add-port br0 tun0 -- set interface tun0 type="$kind" ofport_request=2 \
		options:remote_ip=192.0.2.2 options:local_ip=192.0.2.1 options:key=flow
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,actions=set_field:42->tun_id,output:2
		priority=100,in_port=2,tun_id=42,actions=output:1
	FLOWS
	lh_echo_server
}

MGNT_MAC=2e:ce:c1:bb:f4:d9
PEER_MAC=04:40:a9:dc:61:a4
ETH0_MAC=10:51:72:29:1b:4f
ETH1_MAC=10:51:72:29:1b:50

# lh_uplinks: a host (lh-node) with two uplinks, eth0 and eth1 --- port0 and port1 of a learning switch
# (lh-switch) port-p --- eth0 of its peer (lh-server, $PEER). It has an Open vSwitch without bridges.
lh_uplinks() {
	lh_netns lh-node lh-switch lh-server
	ip -n lh-switch link add br0 type bridge mcast_snooping 0 forward_delay 0
	lh_veth lh-node eth0 $ETH0_MAC lh-switch port0 02:00:00:00:02:00
	lh_veth lh-node eth1 $ETH1_MAC lh-switch port1 02:00:00:00:02:01
	lh_veth lh-server eth0 $PEER_MAC lh-switch port-p 02:00:00:00:02:02
	for dev in port0 port1 port-p; do
		ip -n lh-switch link set $dev master br0
	done
	ip -n lh-switch link set br0 up
	ip -n lh-server addr add "$PEER/24" broadcast + dev eth0
	lh_ovs_start
}

# lh_ovs_bond MODE [OVS-VSCTL-ARG...]: on lh_uplinks, both as bond1 of br-bond, eth1 active.
lh_ovs_bond() {
	mode=$1
	shift
	ovs-vsctl add-br br-bond "$@" -- add-bond br-bond bond1 eth0 eth1 bond_mode="$mode"
	lh_mgnt
	ovs-appctl bond/set-active-member bond1 eth1 >/dev/null
}

# lh_mgnt: the host's address, $HOST, on mgnt of br-bond.
lh_mgnt() {
	ovs-vsctl add-port br-bond mgnt -- set interface mgnt type=internal
	ip -n lh-node link set mgnt address $MGNT_MAC up
	ip -n lh-node addr add "$HOST/24" broadcast + dev mgnt
}

# lh_acquainted: host and peer know each other's addresses, and the switch where all are.
lh_acquainted() {
	lh_neigh lh-node mgnt "$PEER" $PEER_MAC
	lh_neigh lh-server eth0 "$HOST" $MGNT_MAC
	ip netns exec lh-node ping -n -c 2 -i 0.2 -W 1 "$PEER"
}

# lh_echo COUNT: as many datagrams from the client to the server, each awaited; what came back is kept.
lh_echo() {
	lh_peer lh-client udp-send --from "$CLIENT_AT:4000" --to "$SERVER_AT:4444" --count "$1" \
		--await-ms 500 >>"$LH_DIR/client.log" 2>&1
}

# lh_echo_server: what lh_echo sends to.
lh_echo_server() {
	lh_hold listener.log lh-server udp-listen --on "$SERVER_AT:4444" --echo
}

# lh_echoed: how many of lh_echo's datagrams came back.
lh_echoed() {
	sed -n 's/.*echoed=\([0-9]*\).*/\1/p' "$LH_DIR/client.log" | awk '{ sum += $1 } END { print sum + 0 }'
}

# lh_flows BRIDGE: replaces the bridge's flows by those on standard input.
lh_flows() {
	ovs-ofctl -O OpenFlow13 replace-flows "$1" -
}

# lh_learnt BRIDGE PORT MAC: the bridge knows where the MAC address is, so that it does not flood.
lh_learnt() {
	ovs-appctl fdb/add "$1" "$2" 0 "$3" >/dev/null
}

# lh_proof: what Open vSwitch itself says, for people.
lh_proof() {
	for bridge in $(ovs-vsctl list-br); do
		echo "-- flows of $bridge"
		ovs-ofctl -O OpenFlow13 dump-flows "$bridge"
	done
	echo "-- datapath"
	ip netns exec lh-node ovs-dpctl show -s
	echo "-- datapath flows"
	ovs-appctl dpctl/dump-flows -m
	echo "-- conntrack"
	ovs-appctl dpctl/dump-conntrack
}

# lh_hits BRIDGE MATCH: how many packets hit the flows that match.
lh_hits() {
	ovs-ofctl -O OpenFlow13 dump-flows "$1" "$2" |
		sed -n 's/.* n_packets=\([0-9]*\),.*/\1/p' | awk '{ sum += $1 } END { print sum + 0 }'
}

# lh_rx NS DEV: packets that the device has received.
lh_rx() {
	ip netns exec "$1" cat "/sys/class/net/$2/statistics/rx_packets"
}

# lh_datagrams NS: UDP datagrams that sockets in the namespace have received, IPv4 and IPv6.
lh_datagrams() {
	ip netns exec "$1" sh -c 'cat /proc/net/snmp /proc/net/snmp6' | awk '
		/^Udp: [0-9]/ { sum += $2 }
		/^Udp6InDatagrams/ { sum += $2 }
		END { print sum + 0 }'
}

# lh_resets NS: TCP resets that the namespace has sent.
lh_resets() {
	ip netns exec "$1" awk '/^Tcp:/ { if ($15 != "OutRsts") print $15 }' /proc/net/snmp
}

# lh_want WHAT ACTUAL TEST-ARG...: a fact of the witness's; says it, and fails where it is not so.
lh_want() {
	what=$1 actual=$2
	shift 2
	echo "$what: $actual (wanted $*)"
	[ "$actual" "$@" ] 2>/dev/null || WITNESS=1
}

# lh_want_of TWIN WHAT ACTUAL FAULTY HEALTHY: a number that is another in each twin.
lh_want_of() {
	wanted=$4
	[ "$1" = faulty ] || wanted=$5
	lh_want "$2" "$3" -eq "$wanted"
}

# lh_witness: ends a witness.sh. Where it was not as wanted, what Open vSwitch says is kept.
lh_witness() {
	[ "${WITNESS-0}" = 0 ] || lh_proof >"$LH_DIR/proof.log" 2>&1 || true
	return "${WITNESS-0}"
}

# lh_ping NS ADDRESS [ARG...]: three echo requests, one after the other; what ping says is kept.
lh_ping() {
	ns=$1 to=$2
	shift 2
	ip netns exec "$ns" ping -n -c 3 -i 0.2 -W 1 "$@" "$to" >"$LH_DIR/ping.log" 2>&1 || true
}

# lh_answers: how many of lh_ping's requests were answered.
lh_answers() {
	sed -n 's/.* \([0-9]*\) received.*/\1/p' "$LH_DIR/ping.log"
}
