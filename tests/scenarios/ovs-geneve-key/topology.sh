#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

build() {
	lh_module geneve
	lh_netns lh-client lh-node lh-remote lh-server
	lh_veth lh-node underlay 02:00:00:00:03:01 lh-remote underlay 02:00:00:00:03:02
	ip -n lh-node addr add 192.0.2.1/24 dev underlay
	ip -n lh-remote addr add 192.0.2.2/24 dev underlay
	lh_neigh lh-node underlay 192.0.2.2 02:00:00:00:03:02
	lh_neigh lh-remote underlay 192.0.2.1 02:00:00:00:03:01
	key=42
	[ "$1" = healthy ] || key=43
	ip -n lh-remote link add tunnel mtu 1400 type geneve id $key remote 192.0.2.1
	lh_port lh-client eth0 $CLIENT_MAC p-c
	ip -n lh-server link add eth0 address $SERVER_MAC mtu 1400 type veth peer name port-s netns lh-remote
	ip -n lh-server link set eth0 up
	ip -n lh-remote link add br0 type bridge mcast_snooping 0 forward_delay 0
	for dev in tunnel port-s; do
		ip -n lh-remote link set $dev master br0 up
	done
	ip -n lh-remote link set br0 up
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0 "$SERVER"
	lh_neigh lh-client eth0 "$SERVER" $SERVER_MAC
	lh_neigh lh-server eth0 "$CLIENT" $CLIENT_MAC
	lh_ovs_start
	ovs-vsctl add-br br0 -- set-fail-mode br0 secure \
		-- add-port br0 p-c -- set interface p-c ofport_request=1 \
		-- add-port br0 tun0 -- set interface tun0 type=geneve ofport_request=2 \
		options:remote_ip=192.0.2.2 options:local_ip=192.0.2.1 options:key=flow
	lh_flows br0 <<-FLOWS
		priority=100,in_port=1,actions=set_field:42->tun_id,output:2
		priority=100,in_port=2,tun_id=42,actions=output:1
	FLOWS
	lh_echo_server
}

lh_topology "$@"
