#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

HM0_MAC=fa:16:3e:a8:7e:f6
AMPHORA_MAC=fe:16:3e:0d:9a:cf
UNIT_MAC=00:16:3e:00:00:8b
HYPERVISOR_MAC=00:16:3e:00:00:d1

# The Octavia unit (lh-node): o-hm0 [br-int] patch-tun = patch-int [br-tun] gre-ac1400d1, over ens3
# --- ens3 of the hypervisor (lh-remote): gre1 [qbr] tap93fff561-bf --- eth0 of the amphora
# (lh-server).
build() {
	lh_module ip_gre nf_conntrack sch_ingress cls_matchall act_pedit
	lh_netns lh-node lh-remote lh-server
	lh_veth lh-node ens3 $UNIT_MAC lh-remote ens3 $HYPERVISOR_MAC
	ip -n lh-node addr add 172.20.0.139/24 dev ens3
	ip -n lh-remote addr add 172.20.0.209/24 dev ens3
	lh_neigh lh-node ens3 172.20.0.209 $HYPERVISOR_MAC
	lh_neigh lh-remote ens3 172.20.0.139 $UNIT_MAC
	hypervisor
	lh_ovs_start
	switches
	ip -n lh-node link set o-hm0 address $HM0_MAC mtu 1458 up
	lh_addr lh-node o-hm0 "$HM0"
	lh_neigh lh-node o-hm0 "$AMPHORA" $AMPHORA_MAC
	port_security
	tunnels
	[ "$1" = healthy ] || corrupt
}

hypervisor() {
	ip -n lh-remote link add gre1 mtu 1458 type gretap local 172.20.0.209 remote 172.20.0.139 key 0x2f1
	ip -n lh-remote link add qbr93fff561-bf type bridge mcast_snooping 0 forward_delay 0
	ip -n lh-remote link add tap93fff561-bf mtu 1458 type veth \
		peer name eth0 address $AMPHORA_MAC mtu 1458 netns lh-server
	for dev in gre1 tap93fff561-bf; do
		ip -n lh-remote link set $dev master qbr93fff561-bf up
	done
	ip -n lh-remote link set qbr93fff561-bf up
	ip -n lh-server link set eth0 up
	lh_addr lh-server eth0 "$AMPHORA"
	lh_neigh lh-server eth0 "$HM0" $HM0_MAC
}

switches() {
	ovs-vsctl add-br br-int -- set-fail-mode br-int secure \
		-- add-br br-tun -- set-fail-mode br-tun secure \
		-- add-port br-int patch-tun \
		-- set interface patch-tun type=patch options:peer=patch-int ofport_request=2 \
		-- add-port br-int o-hm0 -- set interface o-hm0 type=internal ofport_request=3 \
		-- add-port br-tun patch-int \
		-- set interface patch-int type=patch options:peer=patch-tun ofport_request=1 \
		-- add-port br-tun gre-ac1400d1 \
		-- set interface gre-ac1400d1 type=gre ofport_request=5 options:df_default=true \
		options:in_key=flow options:out_key=flow \
		options:local_ip=172.20.0.139 options:remote_ip=172.20.0.209
}

# Neutron's port security: all ICMPv6 of the port through conntrack, in the network's zone.
port_security() {
	lh_flows br-int <<-FLOWS
		cookie=0x4f1d3a7788e0b2c5,table=0,priority=100,in_port=3,actions=set_field:0x3->reg5,set_field:0x1->reg6,resubmit(,71)
		cookie=0x4f1d3a7788e0b2c5,table=0,priority=100,in_port=2,dl_vlan=1,actions=pop_vlan,set_field:0x3->reg5,set_field:0x1->reg6,resubmit(,81)
		cookie=0x4f1d3a7788e0b2c5,table=71,priority=65,icmp6,reg5=0x3,in_port=3,dl_src=$HM0_MAC,ipv6_src=$HM0,actions=ct(table=72,zone=NXM_NX_REG6[0..15])
		cookie=0x4f1d3a7788e0b2c5,table=71,priority=0,actions=drop
		cookie=0x4f1d3a7788e0b2c5,table=72,priority=74,ct_state=+new-est,icmp6,reg5=0x3,actions=resubmit(,73)
		cookie=0x4f1d3a7788e0b2c5,table=72,priority=50,ct_state=+inv+trk,actions=drop
		cookie=0x4f1d3a7788e0b2c5,table=72,priority=50,ct_state=+est-rel+rpl,reg5=0x3,actions=resubmit(,94)
		cookie=0x4f1d3a7788e0b2c5,table=72,priority=50,ct_state=+est-rel-rpl,reg5=0x3,actions=resubmit(,94)
		cookie=0x4f1d3a7788e0b2c5,table=73,priority=80,icmp6,ct_state=+new-est,reg5=0x3,actions=ct(commit,zone=NXM_NX_REG6[0..15]),resubmit(,94)
		cookie=0x4f1d3a7788e0b2c5,table=81,priority=90,icmp6,reg5=0x3,actions=ct(table=82,zone=NXM_NX_REG6[0..15])
		cookie=0x4f1d3a7788e0b2c5,table=82,priority=50,ct_state=+est-rel+rpl,reg5=0x3,actions=output:3
		cookie=0x4f1d3a7788e0b2c5,table=82,priority=50,ct_state=+inv+trk,actions=drop
		cookie=0x4f1d3a7788e0b2c5,table=94,priority=1,actions=push_vlan:0x8100,set_field:0x1001->vlan_vid,output:2
	FLOWS
}

tunnels() {
	lh_flows br-tun <<-FLOWS
		cookie=0xfc585d7201b94e91,table=0,priority=1,in_port=1,actions=resubmit(,20)
		cookie=0xfc585d7201b94e91,table=0,priority=1,in_port=5,actions=resubmit(,3)
		cookie=0xfc585d7201b94e91,table=3,priority=1,tun_id=0x2f1,actions=push_vlan:0x8100,set_field:0x1001->vlan_vid,output:1
		cookie=0xfc585d7201b94e91,table=20,priority=2,dl_vlan=1,dl_dst=$AMPHORA_MAC,actions=pop_vlan,set_field:0x2f1->tun_id,output:5
	FLOWS
}

# One byte of the echo's payload is changed behind the checksum's back, as a faulty offload does:
# conntrack takes the packet for invalid; a simulation, which computes no checksums, does not.
corrupt() {
	ip netns exec lh-node tc qdisc add dev o-hm0 clsact
	ip netns exec lh-node tc filter add dev o-hm0 egress protocol ipv6 matchall \
		action pedit munge offset 100 u8 set 0x00 pipe
}

lh_topology "$@"
