//! The table of drops, for a person.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};

use crate::model::Drops;
use crate::verdict::words::{count, safe};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const NUMBER: Style = AnsiColor::Yellow.on_default();

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

    /// The table and what is to be said of it. `hidden`: how many more rows there are; `not_held`:
    /// drops that no map had room for; `seconds` since the beginning.
    pub fn page(self, rows: &[Drops], hidden: usize, not_held: u64, seconds: f64) -> String {
        let shown: Vec<&Drops> = rows.iter().filter(|row| row.folded.is_none()).collect();
        let mut page = String::new();
        if shown.is_empty() {
            let _ = writeln!(page, "No drops in {seconds:.1} s.");
        } else {
            let _ = writeln!(page, "{}", self.grid(&shown));
            self.explain(&mut page, &shown);
        }
        if hidden != 0 {
            let _ = writeln!(
                page,
                "{} less frequent not shown; --top N shows more.",
                count(hidden as u64, "row")
            );
        }
        if not_held != 0 {
            let _ = writeln!(
                page,
                "{} could not be counted by place: the map is full.",
                count(not_held, "drop")
            );
        }
        for row in rows.iter().filter(|row| row.folded.is_some()) {
            let line = format!("{} of everyday life; --all shows them.", count(row.count, "drop"));
            let _ = writeln!(page, "{}", self.paint(DIM, &line));
        }
        page
    }

    fn grid(self, rows: &[&Drops]) -> String {
        let details = rows.iter().any(|row| !detail(row).is_empty());
        let rates = rows.iter().any(|row| row.rate.is_some());
        let mut grid = Grid::new();
        grid.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let head = ["DROPS", "/s", "BYTES", "REASON", "IN", "DEVICE", "NETNS", "WHAT"];
        let wanted = |column: usize| (column != 1 || rates) && (column != 7 || details);
        let pick = |cells: [String; 8]| {
            cells
                .into_iter()
                .enumerate()
                .filter(|(n, _)| wanted(*n))
                .map(|(_, cell)| cell)
                .collect::<Vec<_>>()
        };
        grid.set_header(pick(head.map(str::to_owned)));
        for row in rows {
            grid.add_row(pick(cells(row)));
        }
        for (n, column) in grid.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if n < if rates { 3 } else { 2 } {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Colour afterwards: the grid measures what it is given.
        let text = grid.trim_fmt();
        let mut lines = text.lines();
        let head = lines.next().map(|line| self.paint(BOLD, line)).unwrap_or_default();
        lines.fold(head, |mut page, line| {
            page.push('\n');
            page.push_str(line);
            page
        })
    }

    /// What the reasons mean, each once.
    fn explain(self, page: &mut String, rows: &[&Drops]) {
        let mut told: Vec<&str> = Vec::new();
        for row in rows {
            let Some(meaning) = row.everyday.as_deref().or(row.meaning.as_deref()) else {
                continue;
            };
            let name = row
                .reason
                .as_deref()
                .filter(|r| *r != "NOT_SPECIFIED")
                .or(row.symbol.as_deref())
                .unwrap_or("?");
            if told.contains(&name) {
                continue;
            }
            told.push(name);
            let _ = writeln!(page, "{}: {meaning}", self.paint(NUMBER, &safe(name)));
            if let Some(next) = row.next.first().filter(|_| row.everyday.is_none()) {
                let _ = writeln!(page, "  next: {}", safe(next));
            }
        }
    }
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
    if row.rest {
        return "others".to_owned();
    }
    let mut words: Vec<String> = row.proto.iter().cloned().collect();
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
    if !row.stack.is_empty() {
        words.push(
            row.stack.iter().take(6).map(|place| safe(place)).collect::<Vec<_>>().join(" < "),
        );
    }
    words.join(" ")
}
