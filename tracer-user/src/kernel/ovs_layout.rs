//! Where the openvswitch module keeps the fields that the programs read.

use tracer_common::ovs::OvsLayout;

use super::btf::{Error, Field, KernelBtf, Types, field, size_in};
use tracer_core::ovs::actions::CtLayout;

/// What stays unknown where the kernel does not say where a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The module has no BTF at all (Debian's 5.10: `CONFIG_DEBUG_INFO_BTF_MODULES` came with 5.11).
    NoBtf,
    /// It lacks these fields.
    Fields(Vec<String>),
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoBtf => f.write_str(
                "the openvswitch module has no BTF, so the vports of Open vSwitch are not named, its \
                 action lists and what ovs-vswitchd answers not shown; drops by it are found all the same, and \
                 the rule where the tables do not ask conntrack",
            ),
            Self::Fields(fields) => write!(
                f,
                "the openvswitch module's BTF has no {}: what is in them is not shown",
                fields.join(", ")
            ),
        }
    }
}

/// Fills in [`OvsLayout`] from the module's BTF, or from the kernel's where openvswitch is built in.
/// A field that is not there is left 0, and told of.
pub fn ovs_layout(btf: &KernelBtf) -> (OvsLayout, Option<Gap>) {
    let module = btf.module("openvswitch");
    let types = module.as_ref().unwrap_or(btf.vmlinux());
    if field(types, &["sw_flow_key"]).is_err() {
        return (OvsLayout::default(), Some(Gap::NoBtf));
    }
    let mut missing = Vec::new();
    let control_block = btf.field(&["sk_buff", "cb"]).map_or(0, Field::byte);
    let mut at = |path: &[&str]| offset(types, path, &mut missing);
    let layout = OvsLayout {
        skb_input_vport: match at(&["ovs_skb_cb", "input_vport"]) {
            0 => 0,
            inner => control_block + inner,
        },
        vport_dev: at(&["vport", "dev"]),
        vport_dp: at(&["vport", "dp"]),
        vport_port_no: at(&["vport", "port_no"]),
        vport_dp_hash_node: at(&["vport", "dp_hash_node"]),
        datapath_ports: at(&["datapath", "ports"]),
        key_size: size_in(types, "sw_flow_key").unwrap_or(0),
        key_in_port: at(&["sw_flow_key", "phy", "in_port"]),
        key_recirc_id: at(&["sw_flow_key", "recirc_id"]),
        key_ct_state: at(&["sw_flow_key", "ct_state"]),
        key_ct_zone: at(&["sw_flow_key", "ct_zone"]),
        key_ct_mark: at(&["sw_flow_key", "ct", "mark"]),
        key_ct_labels: at(&["sw_flow_key", "ct", "labels"]),
        flow_key: at(&["sw_flow", "key"]),
        flow_acts: at(&["sw_flow", "sf_acts"]),
        mask_key: at(&["sw_flow_mask", "key"]),
        acts_actions_len: at(&["sw_flow_actions", "actions_len"]),
        acts_actions: at(&["sw_flow_actions", "actions"]),
        upcall_cmd: at(&["dp_upcall_info", "cmd"]),
    };
    (layout, (!missing.is_empty()).then_some(Gap::Fields(missing)))
}

/// One more than the field's offset in bytes; 0 where there is no such field.
fn offset(types: &Types, path: &[&str], missing: &mut Vec<String>) -> u32 {
    if let Ok(found) = field(types, path) {
        return found.byte() + 1;
    }
    missing.push(path.join("."));
    0
}

/// Where the module keeps what a `ct` action does; `None` where its BTF does not say.
pub fn ct_layout(btf: &KernelBtf) -> Option<CtLayout> {
    let module = btf.module("openvswitch");
    let types = module.as_ref().unwrap_or(btf.vmlinux());
    ct_fields(types).ok().flatten()
}

fn ct_fields(types: &Types) -> Result<Option<CtLayout>, Error> {
    const INFO: &str = "ovs_conntrack_info";
    let at = |name: &str| field(types, &[INFO, name]).map(Field::byte);
    let commit = field(types, &[INFO, "commit"])?;
    // Bit fields in the order that `CtLayout` describes, from the low end of their byte.
    let expected =
        |name, shift| field(types, &[INFO, name]).is_ok_and(|f| f.bit == commit.bit + shift);
    if commit.bit % 8 != 0 || !expected("nat", 1) || !expected("force", 4) {
        return Ok(None);
    }
    let Some(size) = size_in(types, INFO) else { return Ok(None) };
    Ok(Some(CtLayout {
        helper: at("helper")?,
        zone: field(types, &[INFO, "zone", "id"])?.byte(),
        flags: commit.byte(),
        family: at("family")?,
        mark: at("mark")?,
        labels: at("labels")?,
        timeout: at("timeout").ok(),
        range: at("range").ok(),
        size,
    }))
}
