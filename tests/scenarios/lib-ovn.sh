# Sourced after lib-ovs.sh by the scenarios with an OVN: both databases, northd and the controller of
# one chassis, all in lh-node.

OVN_RUNDIR=$OVS_RUNDIR
export OVN_RUNDIR OVN_DBDIR="$OVS_RUNDIR" OVN_LOGDIR="$OVS_RUNDIR" OVN_SYSCONFDIR="$OVS_RUNDIR"
export OVN_NB_DB="unix:$OVS_RUNDIR/ovnnb_db.sock" OVN_SB_DB="unix:$OVS_RUNDIR/ovnsb_db.sock"

# lh_ovn_start CHASSIS ENCAP-ADDRESS BRIDGE-MAPPINGS: OVN on the Open vSwitch that is there.
lh_ovn_start() {
	for side in nb sb; do
		ovsdb-tool create "$OVN_RUNDIR/ovn$side.db" /usr/share/ovn/ovn-$side.ovsschema
		ip netns exec lh-node ovsdb-server "$OVN_RUNDIR/ovn$side.db" \
			--remote="punix:$OVN_RUNDIR/ovn${side}_db.sock" --pidfile="$OVN_RUNDIR/ovn$side.pid" \
			--unixctl="$OVN_RUNDIR/ovn$side.ctl" --detach --no-chdir \
			--log-file="$OVN_RUNDIR/ovn$side.log" -vconsole:off
	done
	ovn-nbctl init
	ovn-sbctl init
	ip netns exec lh-node ovn-northd --ovnnb-db="$OVN_NB_DB" --ovnsb-db="$OVN_SB_DB" \
		--pidfile --detach --no-chdir --log-file -vconsole:off
	ovs-vsctl set open_vswitch . external_ids:system-id="$1" external_ids:ovn-remote="$OVN_SB_DB" \
		external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip="$2" \
		external_ids:ovn-bridge-mappings="$3"
	ip netns exec lh-node ovn-controller "unix:$OVS_RUNDIR/db.sock" \
		--pidfile --detach --no-chdir --log-file -vconsole:off
}

# lh_ovn_sync: waits until what was written is in the chassis's flows.
lh_ovn_sync() {
	ovn-nbctl --timeout=60 --wait=hv sync
}
