#!/bin/sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../lib-ovs.sh"

VM_MAC=fa:16:3e:38:bb:86
OTHER_MAC=fa:16:3e:7b:ee:62
COOKIE=0x9b52dfee970c9aa7

# client (the VM) eth0 --- tap [qbr] qvb --- qvo [br-int] int-br-pf9 = phy-br-pf9 [br-pf9] ext0 ---
# eth0.1234 server (the VM on the other hypervisor)
build() {
	lh_netns lh-client lh-node lh-server
	lh_module 8021q
	lh_port lh-client eth0 $VM_MAC tap14947074-a3
	ip -n lh-node link add qbr14947074-a3 type bridge mcast_snooping 0 forward_delay 0
	ip -n lh-node link add qvb14947074-a3 type veth peer name qvo14947074-a3 address 7e:76:9d:c3:e0:32
	for dev in tap14947074-a3 qvb14947074-a3; do
		ip -n lh-node link set $dev master qbr14947074-a3
	done
	for dev in qvb14947074-a3 qvo14947074-a3 qbr14947074-a3; do
		ip -n lh-node link set $dev up
	done
	lh_port lh-server eth0 $OTHER_MAC ext0
	ip -n lh-server link add link eth0 name eth0.1234 type vlan id 1234
	ip -n lh-server link set eth0.1234 up
	lh_addr lh-client eth0 "$CLIENT"
	lh_addr lh-server eth0.1234 "$SERVER"
	lh_neigh lh-client eth0 "$SERVER" $OTHER_MAC
	lh_neigh lh-server eth0.1234 "$CLIENT" $VM_MAC
	lh_ovs_start
	ovs-vsctl add-br br-int -- set-fail-mode br-int secure \
		-- add-br br-pf9 -- set-fail-mode br-pf9 secure \
		-- add-port br-int qvo14947074-a3 -- set interface qvo14947074-a3 ofport_request=406 \
		-- add-port br-int int-br-pf9 \
		-- set interface int-br-pf9 type=patch options:peer=phy-br-pf9 ofport_request=1 \
		-- add-port br-pf9 phy-br-pf9 \
		-- set interface phy-br-pf9 type=patch options:peer=int-br-pf9 ofport_request=2 \
		-- add-port br-pf9 ext0 -- set interface ext0 ofport_request=1
	flows "$1"
}

flows() {
	lh_flows br-pf9 <<-FLOWS
		priority=4,in_port=2,dl_vlan=3,actions=set_field:0x14d2->vlan_vid,output:1
		priority=4,in_port=1,dl_vlan=1234,actions=set_field:0x1003->vlan_vid,output:2
	FLOWS
	{
		cat <<-FLOWS
			cookie=$COOKIE,table=0,priority=3,in_port=1,dl_vlan=3,actions=pop_vlan,set_field:0x3->reg6,resubmit(,61)
			cookie=$COOKIE,table=0,priority=0,actions=goto_table:60
			cookie=$COOKIE,table=60,priority=9,in_port=406,dl_src=$VM_MAC,actions=set_field:0x3->reg6,resubmit(,61)
			cookie=$COOKIE,table=61,priority=12,reg6=0x3,dl_dst=$VM_MAC,actions=output:406
			cookie=$COOKIE,table=61,priority=1,reg6=0x3,in_port=406,actions=push_vlan:0x8100,set_field:0x1003->vlan_vid,output:1
		FLOWS
		# Left over from when the other VM was on this hypervisor; its port is gone.
		[ "$1" = healthy ] ||
			echo "cookie=$COOKIE,table=61,priority=12,reg6=0x3,dl_dst=$OTHER_MAC,actions=output:775"
	} | lh_flows br-int
}

lh_topology "$@"
