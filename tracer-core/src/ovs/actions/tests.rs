use super::*;

/// Lists as netlink dumped them, each with what `ovs-dpctl` printed.
const DUMPED: &[&str] =
    &[include_str!("../fixtures/actions-6.1.txt"), include_str!("../fixtures/actions-6.12.txt")];
/// Lists as the kernel keeps them, likewise.
const KEPT: &[&str] =
    &[include_str!("../fixtures/memory-6.1.txt"), include_str!("../fixtures/memory-6.12.txt")];

/// What the module's BTF says on both kernels.
const LAYOUT: CtLayout = CtLayout {
    helper: 0,
    zone: 8,
    flags: 24,
    family: 26,
    mark: 32,
    labels: 40,
    timeout: Some(72),
    range: Some(112),
    size: 160,
};

/// Bytes and text of each line.
fn captured(file: &str) -> impl Iterator<Item = (Vec<u8>, &str)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(hex, text)| (unhex(hex), text))
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.trim_matches('-').as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn assert_all(files: &[&str], form: Form<'_>, expected: impl Fn(&str) -> String) {
    let mut wrong = Vec::new();
    for file in files {
        let lists: Vec<_> = captured(file).collect();
        assert!(lists.len() > 90, "{} lists", lists.len());
        for (bytes, printed) in lists {
            let (seen, expected) = (text_of(&bytes, form), expected(printed));
            if seen != expected {
                wrong.push(format!("{seen}\n  expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// `text` with `…` for what stands between `from` and `to`.
fn blank(text: &str, from: &str, to: &str) -> String {
    let Some((before, rest)) = text.split_once(from) else {
        return text.to_owned();
    };
    format!("{before}{from}…{}", &rest[rest.rfind(to).unwrap()..])
}

#[test]
fn a_dumped_list_reads_as_ovs_dpctl_prints_it() {
    assert_all(DUMPED, Form::Netlink, str::to_owned);
}

#[test]
fn a_list_in_memory_reads_alike_but_for_what_it_points_to() {
    assert_all(KEPT, Form::Memory(Some(&LAYOUT)), |printed| {
        blank(&blank(printed, "set(tunnel(", ")),"), "helper=", "),")
    });
}

#[test]
fn without_a_layout_a_ct_in_memory_is_a_ct() {
    let list = captured(KEPT[0]).find(|(_, text)| *text == "ct(commit,zone=5),2").unwrap().0;
    assert_eq!(text_of(&list, Form::Memory(None)), "ct(…),2");
    let elsewhere = CtLayout { size: 168, ..LAYOUT };
    assert_eq!(text_of(&list, Form::Memory(Some(&elsewhere))), "ct(…),2");
}

#[test]
fn an_empty_list_drops() {
    assert_eq!(text(&[]), "drop");
    assert_eq!(text_of(&[], Form::Memory(None)), "drop");
}

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn number(n: u32) -> [u8; 4] {
    n.to_ne_bytes()
}

/// What OVS 3.1 has no words for yet, as OVS 3.6 prints it.
#[test]
fn newer_actions_read_as_newer_tools_print_them() {
    assert_eq!(text(&attr(24, &number(0))), "drop");
    assert_eq!(text(&[attr(1, &number(2)), attr(24, &number(9))].concat()), "2,drop");
    let cookie = [attr(1, &number(5)), attr(2, &[0, 1, 2, 3, 4, 5])].concat();
    assert_eq!(text(&attr(25, &cookie)), "psample(group=5,cookie=0x102030405)");
    assert_eq!(text(&attr(25, &attr(1, &number(5)))), "psample(group=5)");
    assert_eq!(text(&attr(23, &attr(1, &attr(7, &number(3))))), "dec_ttl(le_1(recirc(0x3)))");
    assert_eq!(text(&attr(23, &attr(1, &[]))), "dec_ttl(le_1(drop))");
    let mpls = [0, 4, 0xd3, 0x40, 0x88, 0x47, 0, 0];
    assert_eq!(text(&attr(9, &mpls)), "push_mpls(label=77,tc=1,ttl=64,bos=1,eth_type=0x8847)");
    let group = [attr(6, &[]), attr(11, &attr(1, &number(0x11 | 8 << 16)))].concat();
    let tunnel = attr(3, &attr(16, &group));
    assert_eq!(text(&tunnel), "set(tunnel(vxlan(gbp(id=17,flags=0x8)),flags(csum)))");
}

#[test]
fn what_is_not_known_is_shown_by_its_number() {
    assert_eq!(text(&attr(27, &[1, 2])), "action27(0x0102)");
    assert_eq!(text(&attr(0, &[])), "action0(0x)");
    // Known, but not as it should be.
    assert_eq!(text(&attr(1, &[1])), "action1(0x01)");
    assert_eq!(text(&attr(3, &attr(33, &[9; 4]))), "action3(0x0800210009090909)");
    assert_eq!(text(&attr(12, &[1])), "action12(0x01)");
    let long = text(&attr(40, &[7; 100]));
    assert!(long.ends_with("07…)") && long.len() < 160, "{long}");
}

#[test]
fn what_is_cut_says_so() {
    let list = [attr(7, &number(2)), attr(1, &number(9))].concat();
    assert_eq!(text(&list), "recirc(0x2),9");
    assert_eq!(text(&list[..13]), "recirc(0x2),…");
    assert_eq!(text(&list[..3]), "…");
    let clone = attr(20, &list[..10]);
    assert_eq!(text(&clone), "clone(recirc(0x2),…)");
}

#[test]
fn depth_and_length_are_bounded() {
    let mut deep = attr(1, &number(1));
    for _ in 0..1000 {
        deep = attr(20, &deep);
    }
    let shown = text(&deep);
    assert!(shown.contains("clone(…)") && shown.len() < 200, "{shown}");
    let many = attr(1, &number(7)).repeat(60_000);
    let shown = text(&many);
    assert!(shown.ends_with('…') && shown.len() < 9000);
}

#[test]
fn a_name_from_userspace_forges_nothing() {
    let ct = attr(12, &attr(5, b"a),drop\x1b[2J\n\0"));
    assert_eq!(text(&ct), "ct(helper=a??drop??2J?)");
}
