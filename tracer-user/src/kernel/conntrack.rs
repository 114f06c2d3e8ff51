//! What this kernel's conntrack looks like: where the fields of an entry are, and what its numbers
//! are called. Built in, or a module with types of its own.

use tracer_common::conntrack::CtLayout;

use super::btf::{KernelBtf, Types, enum_members, field, size_in};

/// Where an entry's fields are; [`CtLayout::UNKNOWN`] where the kernel has no conntrack, or where
/// it is a module that is not loaded.
pub fn layout(kernel: &KernelBtf) -> CtLayout {
    types(kernel, |btf| entry_layout(kernel, btf)).unwrap_or(CtLayout::UNKNOWN)
}

/// What `found` finds in the kernel's own types, or else in those of its module.
fn types<T>(kernel: &KernelBtf, found: impl Fn(&Types) -> Option<T>) -> Option<T> {
    found(kernel.vmlinux()).or_else(|| found(&kernel.module("nf_conntrack")?))
}

fn entry_layout(kernel: &KernelBtf, btf: &Types) -> Option<CtLayout> {
    let at = |path: &[&str]| field(btf, path).ok().map(super::btf::Field::byte);
    let hash = at(&["nf_conn", "tuplehash"])?;
    let tuple = at(&["nf_conntrack_tuple_hash", "tuple"])?;
    let mark = at(&["nf_conn", "mark"]);
    let zone = at(&["nf_conn", "zone"]).zip(at(&["nf_conntrack_zone", "id"]));
    let labels = labels(btf);
    Some(CtLayout {
        known: 1,
        skb_nfct: kernel.field(&["sk_buff", "_nfct"]).ok()?.byte(),
        orig: hash + tuple,
        reply: hash + size_in(btf, "nf_conntrack_tuple_hash")? + tuple,
        src_addr: at(&["nf_conntrack_tuple", "src", "u3"])?,
        src_port: at(&["nf_conntrack_tuple", "src", "u"])?,
        family: at(&["nf_conntrack_tuple", "src", "l3num"])?,
        dst_addr: at(&["nf_conntrack_tuple", "dst", "u3"])?,
        dst_port: at(&["nf_conntrack_tuple", "dst", "u"])?,
        proto: at(&["nf_conntrack_tuple", "dst", "protonum"])?,
        status: at(&["nf_conn", "status"])?,
        has_mark: u32::from(mark.is_some()),
        mark: mark.unwrap_or(0),
        has_zone: u32::from(zone.is_some()),
        zone: zone.map_or(0, |(zone, id)| zone + id),
        has_labels: u32::from(labels.is_some()),
        ext: labels.map_or(0, |l| l.0),
        ext_labels: labels.map_or(0, |l| l.1),
        ext_width: labels.map_or(0, |l| l.2),
    })
}

/// Where the extensions are, where in them is said where the labels are, and how wide that is.
fn labels(btf: &Types) -> Option<(u32, u32, u32)> {
    let members = enum_members(btf, "nf_ct_ext_id");
    let number = |name: &str| members.iter().find(|(_, n)| n == name).map(|(number, _)| *number);
    let (labels, all) = (number("NF_CT_EXT_LABELS")?, number("NF_CT_EXT_NUM")?);
    let ext = field(btf, &["nf_conn", "ext"]).ok()?.byte();
    let offsets = field(btf, &["nf_ct_ext", "offset"]).ok()?.byte();
    // `len` stands right behind the offsets and is as wide as one of them.
    let width = field(btf, &["nf_ct_ext", "len"]).ok()?.byte().checked_sub(offsets)? / all.max(1);
    matches!(width, 1 | 2).then_some((ext, offsets + labels * width, width))
}

/// What the numbers of an entry are called.
#[derive(Clone, Debug, Default)]
pub struct CtNames {
    /// `enum ip_conntrack_info`, without `IP_CT_`.
    info: Vec<(u32, String)>,
    /// Bits of `enum ip_conntrack_status`, without `IPS_` and `_BIT`.
    status: Vec<(u32, String)>,
}

impl CtNames {
    /// From the running kernel's BTF.
    pub fn read(kernel: &KernelBtf) -> Self {
        let members = |name: &str| {
            let found =
                types(kernel, |btf| Some(enum_members(btf, name)).filter(|m| !m.is_empty()));
            found.unwrap_or_default()
        };
        let cut = |(number, name): (u32, String), front: &str, back: &str| {
            Some((number, name.strip_prefix(front)?.strip_suffix(back)?.to_owned()))
        };
        Self {
            info: members("ip_conntrack_info")
                .into_iter()
                .filter_map(|m| cut(m, "IP_CT_", ""))
                .collect(),
            status: members("ip_conntrack_status")
                .into_iter()
                .filter_map(|m| cut(m, "IPS_", "_BIT"))
                .collect(),
        }
    }

    /// How a packet relates to its connection: `established`, `related`, `new`, `reply` (a packet
    /// of an established connection against its first direction), `related-reply`, `untracked`.
    pub fn state(&self, info: u8) -> Option<&'static str> {
        // `IP_CT_IS_REPLY` is a number among these, and means the same as `ESTABLISHED_REPLY`.
        let named = |n: &str| self.info.iter().any(|(m, name)| *m == u32::from(info) && name == n);
        let known = [
            ("ESTABLISHED", "established"),
            ("RELATED", "related"),
            ("NEW", "new"),
            ("ESTABLISHED_REPLY", "reply"),
            ("RELATED_REPLY", "related-reply"),
            ("UNTRACKED", "untracked"),
        ];
        known.into_iter().find(|(name, _)| named(name)).map(|(_, state)| state)
    }

    /// The bits that are set, in lower case with dashes, as `src-nat`.
    pub fn status(&self, bits: u32) -> Vec<String> {
        let set = self.status.iter().filter(|(bit, _)| *bit < 32 && bits >> bit & 1 == 1);
        set.map(|(_, name)| name.to_lowercase().replace('_', "-")).collect()
    }
}
