//! The elements of a set, in order: of a hundred thousand the one that holds is found at once.

use std::net::IpAddr;

use super::Tri;
use super::value::{Right, Shown, equals, is_name};

/// Of elements that are not in order so many are held against a packet.
const MAX_OTHERS: usize = 4096;

/// Values and ranges, each with its end.
type Spans<T> = Vec<(T, T)>;

/// The elements of a set.
#[derive(Debug, Default)]
pub(super) struct Elements {
    v4: Spans<u32>,
    v6: Spans<u128>,
    numbers: Spans<u64>,
    others: Vec<Right>,
    /// There are elements that cannot be held against a packet here.
    is_vague: bool,
}

impl Elements {
    /// Takes one in; those of the kinds that are in order are put there by [`Elements::sort`].
    pub fn push(&mut self, element: Right) {
        match element {
            Right::Addr(addr) => self.push_span(addr, addr),
            Right::Net(net) => self.push_span(net.network(), net.broadcast()),
            Right::Number(n) => self.numbers.push((n, n)),
            Right::Unknown => self.is_vague = true,
            Right::Range(ends) => match *ends {
                (Right::Addr(from), Right::Addr(to)) if from.is_ipv4() == to.is_ipv4() => {
                    self.push_span(from, to);
                }
                (Right::Number(from), Right::Number(to)) => self.numbers.push((from, to)),
                ends => self.push_other(Right::Range(Box::new(ends))),
            },
            other => self.push_other(other),
        }
    }

    fn push_other(&mut self, other: Right) {
        if self.others.len() < MAX_OTHERS {
            self.others.push(other);
        } else {
            self.is_vague = true;
        }
    }

    fn push_span(&mut self, from: IpAddr, to: IpAddr) {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.v4.push((from.to_bits(), to.to_bits())),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.v6.push((from.to_bits(), to.to_bits())),
            _ => self.is_vague = true,
        }
    }

    /// All are there.
    pub fn sort(&mut self) {
        merge(&mut self.v4);
        merge(&mut self.v6);
        merge(&mut self.numbers);
        self.others.shrink_to_fit();
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        8 * self.v4.len() + 32 * self.v6.len() + 16 * self.numbers.len() + 48 * self.others.len()
    }

    /// Whether one of them is what the packet shows.
    pub fn hold(&self, shown: &Shown<'_>, any_bit: bool) -> Tri {
        let of_no_use = |is_there: bool| if is_there { Tri::Maybe } else { Tri::No };
        let addresses = !self.v4.is_empty() || !self.v6.is_empty();
        let in_order = match shown {
            Shown::Absent => return Tri::No,
            Shown::Unknown => return Tri::Maybe,
            Shown::Addr(addr) => {
                let found = match addr {
                    IpAddr::V4(addr) => has(&self.v4, addr.to_bits()),
                    IpAddr::V6(addr) => has(&self.v6, addr.to_bits()),
                };
                Tri::of(found).or(of_no_use(!self.numbers.is_empty()))
            }
            Shown::Number(n) => Tri::of(has(&self.numbers, *n)).or(of_no_use(addresses)),
            Shown::Bits(_) | Shown::EtherType(_) => {
                let each = |(from, to): &(u64, u64)| {
                    let one = (from == to).then_some(Right::Number(*from));
                    one.map_or(Tri::Maybe, |one| equals(shown, &one, any_bit, &|_| None))
                };
                self.numbers.iter().map(each).fold(of_no_use(addresses), Tri::or)
            }
            Shown::Name(name) => {
                // Of a set of names, one may look like an address.
                let own = |text: String| is_name(name, &text);
                let alike = name.parse().is_ok_and(|addr: IpAddr| own(addr.to_string()));
                of_no_use(!self.numbers.is_empty() || (addresses && alike))
            }
        };
        let others = self.others.iter().map(|other| equals(shown, other, any_bit, &|_| None));
        others.fold(in_order.or(of_no_use(self.is_vague)), Tri::or)
    }
}

fn merge<T: Ord + Copy>(spans: &mut Spans<T>) {
    spans.sort_unstable();
    spans.dedup_by(|next, span| {
        let overlaps = next.0 <= span.1;
        if overlaps {
            span.1 = span.1.max(next.1);
        }
        overlaps
    });
    spans.shrink_to_fit();
}

fn has<T: Ord + Copy>(spans: &Spans<T>, one: T) -> bool {
    let behind = spans.partition_point(|(from, _)| *from <= one);
    behind.checked_sub(1).and_then(|at| spans.get(at)).is_some_and(|(_, to)| one <= *to)
}
