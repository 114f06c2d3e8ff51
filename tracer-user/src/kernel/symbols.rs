//! Function names for code addresses, from `/proc/kallsyms`.

use std::fs::File;
use std::io::{BufRead, BufReader};

use tracer_core::record::Place;

/// What it means that there are no symbols.
pub const HIDDEN_SYMBOLS: &str = "/proc/kallsyms shows no addresses: places in the kernel stay unnamed \
     (needs CAP_SYSLOG, or kernel.kptr_restrict below 2)";

/// The kernel's functions by address, its modules' and BPF programs' included.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Sorted by address. Names are kept in one text: tens of thousands of them.
    functions: Vec<(u64, u32, u8)>,
    names: String,
    /// The functions that are the last of their module: behind them begins what is none of its.
    last: Vec<u64>,
}

/// What modules' memory comes in, bytes.
const PAGE: u64 = 1 << 12;

/// No function is as long as this, bytes.
const LONGEST_FUNCTION: u64 = 1 << 18;

/// What the names of the padding before each function begin with (`PREFIX_SYMBOLS` of
/// `arch/x86/Kconfig`, Linux 6.2): on such a kernel half of the table, and no code returns there.
const PADDING: &str = "__pfx_";

/// The last functions of modules, as they come in `/proc/kallsyms`: one module after the other, the
/// kernel itself, which has no name there, first.
#[derive(Debug, Default)]
struct Modules {
    last: Vec<(String, u64)>,
}

impl Modules {
    fn add(&mut self, module: &str, address: u64) {
        match self.last.last_mut() {
            Some((name, last)) if name == module => *last = address.max(*last),
            _ => self.last.push((module.to_owned(), address)),
        }
    }
}

impl Symbols {
    /// Reads the symbol table. Where addresses are hidden (`kernel.kptr_restrict`, or no
    /// `CAP_SYSLOG`) they all read as zero: the table is then empty.
    pub fn read() -> std::io::Result<Self> {
        let mut symbols = Self::default();
        let mut reader = BufReader::with_capacity(1 << 16, File::open("/proc/kallsyms")?);
        let mut line = String::new();
        let mut modules = Modules::default();
        while reader.read_line(&mut line)? != 0 {
            symbols.add(&line, &mut modules);
            line.clear();
        }
        symbols.sort(modules);
        Ok(symbols)
    }

    /// Once all is added.
    fn sort(&mut self, modules: Modules) {
        // The first name of an address wins: aliases follow.
        self.functions.sort_by_key(|(address, ..)| *address);
        self.functions.dedup_by_key(|(address, ..)| *address);
        self.functions.shrink_to_fit();
        self.names.shrink_to_fit();
        self.last = modules.last.into_iter().map(|(_, address)| address).collect();
        self.last.sort_unstable();
    }

    /// One line: `address type name[\t[module]]`.
    fn add(&mut self, line: &str, modules: &mut Modules) {
        let mut parts = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        if !matches!(kind, "t" | "T" | "w" | "W") {
            return;
        }
        if name.starts_with(PADDING) {
            return;
        }
        let Ok(address) = u64::from_str_radix(address, 16) else {
            return;
        };
        if address == 0 {
            return;
        }
        modules.add(parts.next().unwrap_or_default(), address);
        // What the compiler appended to a part or a copy of a function is no news to a reader.
        let name = name.split('.').next().unwrap_or(name);
        let (Ok(start), Ok(len)) = (u32::try_from(self.names.len()), u8::try_from(name.len()))
        else {
            return;
        };
        self.names.push_str(name);
        self.functions.push((address, start, len));
    }

    /// Whether any name is known.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Where the code of a function begins, and where the next one does; `None` for one that is not
    /// known.
    pub fn code_of(&self, name: &str) -> Option<[u64; 2]> {
        let is_it = |(_, at, len): &(u64, u32, u8)| {
            self.names.get(*at as usize..*at as usize + usize::from(*len)) == Some(name)
        };
        let at = self.functions.iter().position(is_it)?;
        let next = self.functions.get(at + 1).map_or(u64::MAX, |(next, ..)| *next);
        Some([self.functions.get(at)?.0, next])
    }

    /// The function that holds the code at `address`, and how far in it is.
    pub fn place(&self, address: u64) -> Option<Place> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, name, len) = *self.functions.get(after.checked_sub(1)?)?;
        // Code that has no symbol (a BPF program's, say) is in none of the functions before it.
        if address - start > LONGEST_FUNCTION {
            return None;
        }
        // Nor is that of a module which was loaded since, and lies behind another.
        if self.last.binary_search(&start).is_ok() && address / PAGE != start / PAGE {
            return None;
        }
        let symbol = self.names.get(name as usize..name as usize + usize::from(len))?;
        Some(Place { symbol: symbol.to_owned(), offset: address - start })
    }
}

impl Symbols {
    /// The kernel's callers in a stack of return addresses (innermost first; 0 ends it), without the
    /// tracing itself and the functions that free any skb, whoever gave it up.
    pub fn callers<'a>(&'a self, stack: &'a [u64]) -> impl Iterator<Item = Place> + 'a {
        let places = || {
            let addresses = stack.iter().take_while(|address| **address != 0);
            addresses.map(|address| self.place(*address))
        };
        // The innermost addresses are in BPF programs, which no symbol may stand for.
        let machinery = places().take(MACHINERY_DEPTH).collect::<Vec<_>>();
        let from = machinery
            .iter()
            .rposition(|place| place.as_ref().is_some_and(|p| is_machinery(&p.symbol)))
            .map_or(0, |last| last + 1);
        places().skip(from).flatten()
    }
}

/// How deep in the stack the tracing can still be found.
const MACHINERY_DEPTH: usize = 6;

/// Functions between a BPF program on `kfree_skb` or `consume_skb` and the code that gave the skb
/// up.
fn is_machinery(symbol: &str) -> bool {
    symbol.starts_with("bpf_")
        || symbol.starts_with("__bpf_")
        || symbol.starts_with("__traceiter_")
        || symbol.starts_with("__probestub_")
        || matches!(
            symbol,
            "kfree_skb"
                | "kfree_skb_reason"
                | "__kfree_skb_reason"
                | "sk_skb_reason_drop"
                | "__sk_skb_reason_drop"
                | "kfree_skb_list_reason"
                | "kfree_skb_list"
                | "consume_skb"
                | "__consume_stateless_skb"
                | "trace_kfree_skb"
                | "trace_consume_skb"
                | "__dev_kfree_skb_any"
                | "dev_kfree_skb_any_reason"
                | "napi_consume_skb"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let (mut s, mut modules) = (Symbols::default(), Modules::default());
        for line in [
            "ffffffff81000000 T first\n",
            "ffffffff810000f0 t __pfx_second.isra.0\n",
            "ffffffff81000100 t second.isra.0\n",
            "ffffffff81000180 D data\n",
            "0000000000000000 T hidden\n",
        ] {
            s.add(line, &mut modules);
        }
        s.sort(modules);
        assert_eq!(
            s.place(0xffff_ffff_8100_0004).map(|p| (p.symbol, p.offset)),
            Some(("first".into(), 4))
        );
        assert_eq!(s.place(0xffff_ffff_8100_0190).map(|p| p.symbol), Some("second".into()));
        assert_eq!(s.place(0x1000), None);
        assert_eq!(s.code_of("first"), Some([0xffff_ffff_8100_0000, 0xffff_ffff_8100_0100]));
        assert_eq!(s.code_of("data"), None);
    }

    #[test]
    fn code_of_a_module_that_came_later_has_no_name_yet() {
        let (mut s, mut modules) = (Symbols::default(), Modules::default());
        for line in [
            "ffffffff81000000 T kernel\n",
            "ffffffffa0001000 t second\t[overlay]\n",
            "ffffffffa0000000 t first\t[overlay]\n",
            "ffffffffa0001800 t ovl_exit\t[overlay]\n",
            "ffffffffa0008000 t far\t[veth]\n",
        ] {
            s.add(line, &mut modules);
        }
        s.sort(modules);
        let name = |address| s.place(address).map(|place| place.symbol);
        assert_eq!(name(0xffff_ffff_a000_0fff).as_deref(), Some("first"));
        assert_eq!(name(0xffff_ffff_a000_1810).as_deref(), Some("ovl_exit"));
        // Between both modules, and behind the last.
        assert_eq!(name(0xffff_ffff_a000_4010), None);
        assert_eq!(name(0xffff_ffff_a000_9010), None);
    }
}
