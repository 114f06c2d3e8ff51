//! The table of drops, for a person.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};

use tracer_core::record::Drops;
use tracer_core::verdict::words::{count, safe};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const NUMBER: Style = AnsiColor::Yellow.on_default();

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The most frequent first.
    pub rows: &'a [Drops],
    /// Drops of everyday life, for which there are no rows.
    pub everyday: u64,
    /// What there are no rows of either, since it is less frequent.
    pub hidden: Hidden,
    /// Drops that no map had room for.
    pub not_held: u64,
    /// Since the beginning.
    pub seconds: f64,
    /// As much as fits there; `None`: all.
    pub fit: Option<Size>,
}

/// Rows that are not shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hidden {
    /// How many.
    pub rows: usize,
    /// The drops in them.
    pub drops: u64,
}

/// A terminal's.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub lines: usize,
}

impl Size {
    /// How many lines a text of that many characters takes.
    fn lines_of(self, characters: usize) -> usize {
        characters.div_ceil(self.columns.max(1)).max(1)
    }
}

impl Page<'_> {
    /// How many lines come after the rows that are always there.
    fn remarks(&self) -> usize {
        usize::from(self.not_held != 0) + usize::from(self.everyday != 0)
    }
}

/// Prints for a person.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    colour: bool,
}

impl Table {
    /// With colours or without.
    pub const fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// The table and what is to be said of it; where it must fit, the rows come first, then what there
    /// is to know of all, then what the reasons mean.
    pub fn page(self, page: &Page<'_>) -> String {
        let lines = page.fit.map_or(usize::MAX, |size| size.lines);
        // One line is the head's, one the cursor's, and one may say that rows are hidden.
        let room = lines.saturating_sub(3 + page.remarks()).max(1);
        let (shown, cut) = page.rows.split_at(room.min(page.rows.len()));
        let mut text = String::new();
        if page.rows.is_empty() && page.hidden.rows == 0 {
            let _ = writeln!(text, "No drops in {:.1} s.", page.seconds);
        } else {
            let _ = writeln!(text, "{}", self.grid(shown, page.fit.map(|size| size.columns)));
        }
        let left = room.saturating_sub(shown.len());
        self.explain(&mut text, shown, left, page.fit);
        let hidden = Hidden {
            rows: page.hidden.rows + cut.len(),
            drops: page.hidden.drops + cut.iter().map(|row| row.count).sum::<u64>(),
        };
        if hidden.rows != 0 {
            let rows = count(hidden.rows as u64, "row");
            let more = if cut.is_empty() { "; --top N shows more" } else { "" };
            let drops = count(hidden.drops, "drop");
            let _ = writeln!(text, "{rows} less frequent not shown ({drops}){more}.");
        }
        if page.not_held != 0 {
            let drops = count(page.not_held, "drop");
            let _ = writeln!(
                text,
                "{drops} could not be counted by place: the map is full until lasthop is started anew."
            );
        }
        if page.everyday != 0 {
            let line =
                format!("{} of everyday life; --all shows them.", count(page.everyday, "drop"));
            let _ = writeln!(text, "{}", self.paint(DIM, &line));
        }
        text
    }

    /// `columns`: no line is wider. What can best be done without is left out for it.
    fn grid(self, rows: &[Drops], columns: Option<usize>) -> String {
        let columns = columns.unwrap_or(usize::MAX);
        let fits = |text: &String| text.lines().all(|line| line.chars().count() <= columns);
        let mut text = grid(rows, &[]);
        for without in [&[BYTES][..], &[BYTES, IN]] {
            if !fits(&text) {
                text = grid(rows, without);
            }
        }
        // Colour afterwards: the grid measures what it is given.
        let mut lines = text.lines().map(|line| clipped(line, columns));
        let head = lines.next().map(|line| self.paint(BOLD, line)).unwrap_or_default();
        lines.fold(head, |mut page, line| {
            page.push('\n');
            page.push_str(line);
            page
        })
    }

    /// What the reasons mean, each meaning once, in no more than `lines` lines of the terminal.
    fn explain(self, text: &mut String, rows: &[Drops], lines: usize, fit: Option<Size>) {
        let mut told: Vec<(&str, &str)> = Vec::new();
        let mut left = lines;
        for row in rows {
            let Some(meaning) = row.meaning.as_deref() else { continue };
            let name = row.reason.as_deref().filter(|r| *r != "NOT_SPECIFIED");
            let name = name.or(row.symbol.as_deref()).unwrap_or("?");
            if told.contains(&(name, meaning)) {
                continue;
            }
            // One reason may mean different things in different places.
            let known = told.iter().any(|(other, _)| *other == name);
            let symbol = row.symbol.as_deref().filter(|symbol| known && *symbol != name);
            told.push((name, meaning));
            let of = symbol.map(|symbol| format!(" in {}", safe(symbol))).unwrap_or_default();
            let meaning = format!("{of}: {meaning}");
            let next = row.next.first().map(|next| format!("  next: {}", safe(next)));
            let name = safe(name);
            if let Some(size) = fit {
                let next = next.as_deref().map_or(0, |next| size.lines_of(next.chars().count()));
                let needs = size.lines_of(name.chars().count() + meaning.chars().count()) + next;
                let Some(rest) = left.checked_sub(needs) else { return };
                left = rest;
            }
            let _ = writeln!(text, "{}{meaning}", self.paint(NUMBER, &name));
            if let Some(next) = next {
                let _ = writeln!(text, "{next}");
            }
        }
    }
}

const HEAD: [&str; 8] = ["DROPS", "/s", "BYTES", "REASON", "IN", "DEVICE", "NETNS", "WHAT"];
const RATE: usize = 1;
const BYTES: usize = 2;
const IN: usize = 4;
const WHAT: usize = 7;

/// The rows under their head, without those columns and without those that would be empty.
fn grid(rows: &[Drops], without: &[usize]) -> String {
    let details = rows.iter().any(|row| !detail(row).is_empty());
    let rates = rows.iter().any(|row| row.rate.is_some());
    let is_shown = |column: usize| {
        !without.contains(&column) && (column != RATE || rates) && (column != WHAT || details)
    };
    let pick = |cells: [String; 8]| {
        let cells = cells.into_iter().enumerate().filter(|(n, _)| is_shown(*n));
        cells.map(|(_, cell)| cell).collect::<Vec<_>>()
    };
    let mut grid = Grid::new();
    grid.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    grid.set_header(pick(HEAD.map(str::to_owned)));
    for row in rows {
        grid.add_row(pick(cells(row)));
    }
    let shown = (0..HEAD.len()).filter(|n| is_shown(*n));
    for (n, column) in shown.zip(grid.column_iter_mut()) {
        column.set_padding((0, 2));
        if n <= BYTES {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    grid.trim_fmt()
}

/// No more than `columns` characters of a line.
fn clipped(line: &str, columns: usize) -> &str {
    line.char_indices().nth(columns).map_or(line, |(end, _)| line.get(..end).unwrap_or(line))
}

fn cells(row: &Drops) -> [String; 8] {
    let or_dash =
        |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |t| safe(t).into_owned());
    let reason = match (row.reason.as_deref(), row.subsystem.as_deref()) {
        (Some(reason), Some("core") | None) => safe(reason).into_owned(),
        (Some(reason), Some(subsystem)) => format!("{} ({})", safe(reason), safe(subsystem)),
        (None, _) => "-".to_owned(),
    };
    [
        row.count.to_string(),
        row.rate.map_or_else(String::new, |rate| format!("{rate:.0}")),
        row.bytes.to_string(),
        reason,
        or_dash(row.symbol.as_deref()),
        or_dash(row.ovs_port.as_deref().or(row.dev.as_deref())),
        or_dash(row.netns.as_deref()),
        detail(row),
    ]
}

/// What was asked for with `--by`, in one cell.
fn detail(row: &Drops) -> String {
    let mut words: Vec<String> = row.proto.iter().cloned().collect();
    if row.rest {
        words.push("others".to_owned());
    }
    let end = |addr: Option<std::net::IpAddr>, port: Option<u16>| match (addr, port) {
        (Some(addr), Some(port)) => Some(std::net::SocketAddr::new(addr, port).to_string()),
        (Some(addr), None) => Some(addr.to_string()),
        (None, Some(port)) => Some(format!("port {port}")),
        (None, None) => None,
    };
    match (end(row.src, row.sport), end(row.dst, row.dport)) {
        (Some(src), Some(dst)) => words.push(format!("{src} > {dst}")),
        (None, Some(dst)) => words.push(dst),
        (Some(src), None) => words.push(src),
        (None, None) => {}
    }
    if row.everyday.is_some() {
        words.push("(everyday)".to_owned());
    }
    if !row.stack.is_empty() {
        words.push(
            row.stack.iter().take(6).map(|place| safe(place)).collect::<Vec<_>>().join(" < "),
        );
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: &str, symbol: &str, count: u64) -> Drops {
        Drops {
            reason: Some(reason.to_owned()),
            symbol: Some(symbol.to_owned()),
            meaning: Some(format!("meaning of {reason}")),
            next: vec!["command".to_owned()],
            count,
            ..Drops::default()
        }
    }

    fn page(rows: &[Drops], fit: Option<Size>) -> String {
        let hidden = Hidden { rows: 2, drops: 5 };
        let page = Page { rows, everyday: 7, hidden, not_held: 0, seconds: 1.0, fit };
        Table::new(false).page(&page)
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let text = page(&[row("NO_SOCKET", "tcp_v4_rcv", 9)], None);
        assert!(text.contains("2 rows less frequent not shown (5 drops); --top N"), "{text}");
        assert!(text.contains("7 drops of everyday life"), "{text}");
    }

    #[test]
    fn a_terminal_is_filled_and_not_scrolled() {
        let rows: Vec<Drops> =
            (0..30).map(|n| row(&format!("REASON_{n}"), "a_function", 100 - n)).collect();
        for (columns, lines) in [(50, 1), (50, 5), (90, 10), (50, 24), (200, 60)] {
            let size = Size { columns, lines };
            let text = page(&rows, Some(size));
            let taken: usize = text.lines().map(|line| size.lines_of(line.chars().count())).sum();
            // The head, a row and two remarks there are always; the cursor has a line of its own.
            assert!(taken < lines.max(5), "{taken} of {lines}: {text}");
            assert!(taken + 4 > lines, "{taken} of {lines}: {text}");
            assert!(text.contains("REASON_0") && text.contains("everyday life"), "{text}");
        }
        let all = page(&rows, Some(Size { columns: 200, lines: 200 }));
        assert_eq!(all.lines().filter(|line| line.contains("next: command")).count(), 30, "{all}");
        assert!(all.contains("2 rows less frequent"), "{all}");
        let few = page(&rows, Some(Size { columns: 200, lines: 14 }));
        assert!(few.contains("22 rows less frequent not shown ("), "{few}");
        assert!(!few.contains("--top"), "a terminal that is too small: {few}");
    }

    #[test]
    fn a_narrow_terminal_shows_what_was_asked_for() {
        let mut row = row("NO_SOCKET", "a_function_with_a_long_name", 9);
        row.dport = Some(4444);
        row.netns = Some("router".to_owned());
        let head = |columns| {
            let text = page(&[row.clone()], Some(Size { columns, lines: 50 }));
            text.lines().next().map(str::to_owned).unwrap()
        };
        let wide = head(100);
        assert!(wide.contains("BYTES") && wide.contains("IN"), "{wide}");
        assert_eq!(head(75).split_whitespace().nth(1), Some("REASON"));
        assert_eq!(
            head(50).split_whitespace().collect::<Vec<_>>(),
            ["DROPS", "REASON", "DEVICE", "NETNS", "WHAT"]
        );
        assert_eq!(head(8).len(), 8);
    }

    #[test]
    fn rows_that_mean_different_things_look_different() {
        let mut late = row("NO_SOCKET", "tcp_v4_rcv", 3);
        late.everyday = Some("late".to_owned());
        late.meaning = Some("late".to_owned());
        let mut elsewhere = row("NO_SOCKET", "icmp_rcv", 2);
        elsewhere.meaning = Some("elsewhere".to_owned());
        let text = page(&[row("NO_SOCKET", "tcp_v4_rcv", 3), late, elsewhere], None);
        for line in [
            "NO_SOCKET: meaning of NO_SOCKET",
            "NO_SOCKET in tcp_v4_rcv: late",
            "NO_SOCKET in icmp_rcv: elsewhere",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert_eq!(text.lines().filter(|line| line.ends_with("(everyday)")).count(), 1, "{text}");
    }
}
