use tracer_common::drops::{
    BY_ADDRESS, BY_PORT, BY_STACK, BY_TUPLE, DropCount, DropDetail, DropKey, TRAIT_RESET,
};
use tracer_common::flow::Addr;

use crate::drops::{Counted, Entry, Folded, Ledger, Names};
use crate::record::{Drops, Netns, Place};

/// A node where all is called after its number.
struct Numbers;

impl Names for Numbers {
    fn reason(&self, number: u32) -> Option<(String, String)> {
        let name = if number == 3 { "NO_SOCKET".to_owned() } else { format!("REASON_{number}") };
        Some((name, "core".to_owned()))
    }

    fn place(&self, address: u64) -> Option<Place> {
        Some(Place { symbol: format!("function_{}", address / 0x100), offset: address % 0x100 })
    }

    fn stack(&self, number: u32) -> Vec<String> {
        // Two numbers may be of one way.
        vec![format!("caller_{}", number / 2)]
    }

    fn device(&self, _: u32, ifindex: u32) -> Option<String> {
        (ifindex != 0).then(|| format!("eth{ifindex}"))
    }

    fn netns(&self, inode: u32) -> Netns {
        Netns { inode, name: None, path: None }
    }

    fn ovs_port(&self, _: u32, _: u32) -> Option<String> {
        None
    }

    fn protocol(&self, number: u16) -> String {
        format!("ip-{number}")
    }
}

fn detail(n: u64) -> DropDetail {
    let key = DropKey { location: 0x1004, reason: 2, ifindex: 1, ..DropKey::default() };
    DropDetail { key, src: Addr::v6(n, 0), dst: Addr::v6(0, n), dport: 53, ..DropDetail::default() }
}

fn entry(detail: DropDetail, packets: u64) -> Entry {
    Entry { detail, rest: false, count: DropCount { packets, bytes: packets * 10 } }
}

fn rows(by: u32, entries: impl IntoIterator<Item = Entry>) -> Vec<Drops> {
    let mut ledger = Ledger::new(by, false);
    let lines = ledger.lines(entries.into_iter(), &Numbers);
    lines.iter().map(|line| ledger.row(line)).collect()
}

#[test]
fn lines_that_look_alike_are_one_and_the_most_frequent_is_first() {
    // Two places of one function.
    let mut other = detail(1);
    other.key.location += 8;
    let rows = rows(0, [entry(detail(1), 3), entry(other, 4), entry(detail(2), 0)]);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].count, rows[0].bytes, rows[0].src), (7, 70, None));
    assert_eq!(rows[0].symbol.as_deref(), Some("function_16"));
    let counts: Vec<u64> = super::tests::rows(BY_ADDRESS, (1..5).map(|n| entry(detail(n), n)))
        .iter()
        .map(|row| row.count)
        .collect();
    assert_eq!(counts, [4, 3, 2, 1]);
}

#[test]
fn a_row_has_what_was_asked_for_and_no_more() {
    let row = &rows(BY_PORT, [entry(detail(1), 1)])[0];
    assert_eq!((row.dport, row.src, row.proto.as_deref()), (Some(53), None, None));
    let row = &rows(BY_ADDRESS, [entry(detail(1), 1)])[0];
    assert_eq!((row.dport, row.src.is_some()), (None, true));
    let rest = Entry { rest: true, ..entry(detail(1), 1) };
    let row = &rows(BY_TUPLE, [rest])[0];
    assert_eq!((row.dport, row.src, row.rest), (None, None, true));
}

#[test]
fn stacks_that_read_alike_are_one() {
    let at = |stack| DropDetail { stack, ..detail(1) };
    let rows = rows(BY_STACK, [entry(at(1), 1), entry(at(2), 2), entry(at(3), 9), entry(at(0), 1)]);
    let told: Vec<_> = rows.iter().map(|row| (row.count, row.stack.join(" "))).collect();
    let want = [(9, "caller_1"), (3, "caller_0"), (1, "")];
    assert_eq!(told, want.map(|(count, stack)| (count, stack.to_owned())));
}

#[test]
fn a_line_means_the_same_at_the_next_look() {
    let mut ledger = Ledger::new(BY_ADDRESS, false);
    let first = ledger.lines([entry(detail(1), 1)].into_iter(), &Numbers);
    let others = (2..40).map(|n| entry(detail(n), n)).chain([entry(detail(1), 90)]);
    let second = ledger.lines(others, &Numbers);
    assert_eq!(first[0].0, second[0].0);
    assert_eq!(ledger.row(&second[0]).src, ledger.row(&first[0]).src);
}

#[test]
fn one_row_for_all_that_is_everyday() {
    let mut ledger = Ledger::new(BY_ADDRESS, false);
    let late = |n| {
        let mut detail = detail(n);
        detail.key.reason = 3;
        detail.key.traits = TRAIT_RESET;
        detail
    };
    let entries = [entry(late(1), 7), entry(detail(1), 5), entry(late(2), 7)];
    let mut lines: Vec<Counted> = ledger.lines(entries.into_iter(), &Numbers);
    let folded = Folded::take(&mut lines, &ledger);
    let row = folded.row().unwrap();
    assert_eq!((row.count, row.bytes, row.folded, folded.drops()), (14, 140, Some(2), 14));
    assert_eq!(lines.iter().map(|(_, count)| count.packets).collect::<Vec<_>>(), [5]);
    assert_eq!(Folded::take(&mut lines, &ledger).row(), None);
}

#[test]
fn what_is_not_told_line_by_line_is_told_by_its_kind() {
    let mut ledger = Ledger::new(BY_ADDRESS, false);
    let other = |n| DropDetail { key: DropKey { reason: 3, ..detail(n).key }, ..detail(n) };
    let entries = (1..=10).flat_map(|n| [entry(detail(n), n), entry(other(n), 1)]);
    let lines = ledger.lines(entries, &Numbers);
    let (told, left) = lines.split_at(4);
    let rest = ledger.rest(left);
    assert_eq!(rest.len(), 2);
    assert!(rest.iter().all(|row| row.rest && row.src.is_none() && row.dst.is_none()));
    let told: u64 = told.iter().map(|line| ledger.row(line).count).sum();
    assert_eq!(told + rest.iter().map(|row| row.count).sum::<u64>(), 55 + 10);
    assert_eq!(ledger.rest(&[]), []);
}
