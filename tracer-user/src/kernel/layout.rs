//! Where this kernel keeps the fields that the programs read.

use tracer_common::abi::Layout;

use super::btf::{Error, KernelBtf};

/// Fills in [`Layout`] from the running kernel's BTF.
pub fn layout(btf: &KernelBtf) -> Result<Layout, Error> {
    let at = |path: &[&str]| btf.field(path).map(super::btf::Field::byte);
    let pkt_type = btf.field(&["sk_buff", "pkt_type"])?;
    let ip_summed = btf.field(&["sk_buff", "ip_summed"])?;
    // A bit of its own until 6.1; since then a set `vlan_all` says that there is a tag.
    let vlan_present = btf.field(&["sk_buff", "vlan_present"]).ok();
    let block = ["_nfct", "len", "pkt_type", "ip_summed", "mark", "vlan_proto", "vlan_tci", "head"];
    let block = block.iter().filter_map(|field| at(&["sk_buff", field]).ok()).min();
    Ok(Layout {
        skb_block: block.unwrap_or(0) & !7,
        skb_head: at(&["sk_buff", "head"])?,
        skb_data: at(&["sk_buff", "data"])?,
        skb_tail: at(&["sk_buff", "tail"])?,
        skb_len: at(&["sk_buff", "len"])?,
        skb_mac_header: at(&["sk_buff", "mac_header"])?,
        skb_network_header: at(&["sk_buff", "network_header"])?,
        skb_transport_header: at(&["sk_buff", "transport_header"])?,
        skb_protocol: at(&["sk_buff", "protocol"])?,
        skb_dev: at(&["sk_buff", "dev"])?,
        skb_sk: at(&["sk_buff", "sk"])?,
        skb_mark: at(&["sk_buff", "mark"])?,
        skb_vlan_tci: at(&["sk_buff", "vlan_tci"])?,
        skb_vlan_proto: at(&["sk_buff", "vlan_proto"])?,
        skb_vlan_present: vlan_present.map_or(0, super::btf::Field::byte),
        vlan_present_mask: vlan_present.map_or(0, |f| 1 << (f.bit % 8)),
        skb_pkt_type: pkt_type.byte(),
        pkt_type_shift: pkt_type.bit % 8,
        skb_ip_summed: ip_summed.byte(),
        ip_summed_shift: ip_summed.bit % 8,
        dev_ifindex: at(&["net_device", "ifindex"])?,
        dev_addr_len: at(&["net_device", "addr_len"])?,
        dev_promiscuity: at(&["net_device", "promiscuity"])?,
        dev_name: at(&["net_device", "name"])?,
        dev_net: at(&["net_device", "nd_net", "net"])?,
        net_inum: at(&["net", "ns", "inum"])?,
        sk_net: at(&["sock", "__sk_common", "skc_net", "net"])?,
        kfree_has_reason: u32::from(btf.tracepoint_args("kfree_skb") >= Some(3)),
        kfree_has_socket: u32::from(btf.tracepoint_args("kfree_skb") >= Some(4)),
        consume_has_location: u32::from(btf.tracepoint_args("consume_skb") >= Some(2)),
    })
}
