//! Holds the code to the arrows that ARCHITECTURE.md draws: which room may use which, and no knots.
//!
//! A room is a top-level module of a crate. What is read is the text: paths that begin with `crate`, `super`,
//! `self`, a module declared in the same file, or `tracer_core`. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `tracer-core`, and those that each uses.
const CORE: &[(&str, &[&str])] = &[
    ("record", &[]),
    ("tame", &[]),
    ("reconstruct", &["record"]),
    ("verdict", &["reconstruct", "record"]),
    ("ruleset", &["record", "tame", "verdict"]),
    ("ovs", &["reconstruct", "record", "verdict"]),
    ("drops", &["reconstruct", "record", "verdict"]),
];

/// The rooms of `tracer-user`, and those that each uses; all of them may use `tracer-core`.
const USER: &[(&str, &[&str])] = &[
    ("beneath", &[]),
    ("capture", &["cgroup", "few", "kernel", "netfilter", "privileges", "topology"]),
    ("cgroup", &[]),
    ("cli", &["filter"]),
    (
        "command",
        &[
            "capture",
            "cgroup",
            "cli",
            "kernel",
            "netfilter",
            "ovs",
            "preflight",
            "privileges",
            "render",
            "report",
            "topology",
        ],
    ),
    ("few", &[]),
    ("filter", &[]),
    ("fuzzing", &[]),
    ("kernel", &[]),
    ("netfilter", &["few", "privileges", "topology"]),
    ("ovs", &["beneath"]),
    ("preflight", &[]),
    ("privileges", &[]),
    ("render", &[]),
    ("report", &["filter", "render"]),
    ("topology", &["beneath", "few"]),
];

/// Files that import each other in a circle of more than three: what is left of the knots, by the room they are
/// in, with how many there are. These numbers only shrink.
const KNOTS: &[(&str, usize)] = &[("reconstruct", 20), ("record", 4)];

/// A module: the names of the modules that lead to it.
type Module = Vec<String>;

/// A source file.
struct Source {
    /// Without comments and tests.
    text: String,
    /// The modules that it declares.
    children: BTreeSet<String>,
    /// Names that it hands on from its children.
    handed_on: BTreeMap<String, String>,
}

/// The files of a crate, by their modules.
fn sources(root: &Path) -> BTreeMap<Module, Source> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry"))
        {
            let path = entry.path();
            if path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = without_tests(&fs::read_to_string(&path).expect("a file"));
                sources.insert(module(root, &path), source(text));
            }
        }
    }
    sources
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`; the crate's own file is the empty path.
fn module(root: &Path, path: &Path) -> Module {
    let inner = path.strip_prefix(root).expect("beneath it").with_extension("");
    let mut names: Module =
        inner.iter().map(|name| name.to_str().expect("text").to_owned()).collect();
    if names.last().is_some_and(|name| matches!(name.as_str(), "mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

fn without_tests(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

fn source(text: String) -> Source {
    let mut children = BTreeSet::new();
    for line in text.lines() {
        let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            children.insert(name.to_owned());
        }
    }
    let mut handed_on = BTreeMap::new();
    for import in text.split(';').filter_map(|part| part.split_once("pub use ")) {
        for mut path in paths_in(import.1) {
            if path.first().is_some_and(|name| name == "self") {
                path.remove(0);
            }
            if let [child, name] = path.as_slice()
                && children.contains(child)
            {
                handed_on.insert(name.clone(), child.clone());
            }
        }
    }
    Source { text, children, handed_on }
}

/// The paths of `a::b::{c, d::e as f}`: `a::b::c` and `a::b::d::e`.
fn paths_in(text: &str) -> Vec<Vec<String>> {
    let mut done = Vec::new();
    tree(text.trim(), &[], &mut done);
    done
}

/// Reads one path, or a group of them, and gives what is behind it.
fn tree<'a>(text: &'a str, before: &[String], done: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            match rest.strip_prefix('}') {
                Some(rest) => return rest,
                None if rest.is_empty() => return rest,
                None => {}
            }
            let behind = tree(rest, before, done);
            rest = if behind.len() == rest.len() { "" } else { behind };
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = before.to_vec();
    if name != "self" || before.is_empty() {
        path.extend((!name.is_empty()).then(|| name.to_owned()));
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return tree(rest, &path, done);
    }
    done.push(path);
    // `as another`
    rest.trim_start().strip_prefix("as ").map_or(rest, |rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        end.map_or("", |end| rest.split_at(end).1)
    })
}

/// All paths in a file that begin with one of these.
fn paths(text: &str, roots: &BTreeSet<&str>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in roots {
        let start = format!("{root}::");
        for (at, _) in text.match_indices(&start) {
            let before = text[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                tree(&text[at..], &[], &mut found);
            }
        }
    }
    found
}

/// Which modules of its crate a module uses; what it hands on is not its own use.
fn uses(module: &Module, all: &BTreeMap<Module, Source>) -> BTreeSet<Module> {
    let source = &all[module];
    let text: Vec<&str> =
        source.text.split(';').filter(|part| !part.contains("pub use ")).collect();
    let mut roots: BTreeSet<&str> = ["crate", "super", "self"].into();
    roots.extend(source.children.iter().map(String::as_str));
    let mut used = BTreeSet::new();
    for path in paths(&text.join(";"), &roots) {
        let mut at = module.clone();
        let mut names = path.into_iter().peekable();
        match names.peek().map(String::as_str) {
            Some("crate") => {
                at.clear();
                names.next();
            }
            Some("self") => drop(names.next()),
            _ => {}
        }
        while names.peek().is_some_and(|name| name == "super") {
            at.pop();
            names.next();
        }
        for name in names {
            let name = all.get(&at).and_then(|file| file.handed_on.get(&name)).unwrap_or(&name);
            let deeper = [at.as_slice(), std::slice::from_ref(name)].concat();
            if !all.contains_key(&deeper) {
                break;
            }
            at = deeper;
        }
        if at != *module && all.contains_key(&at) {
            used.insert(at);
        }
    }
    used
}

fn graph(all: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeSet<Module>> {
    all.keys().map(|module| (module, uses(module, all))).collect()
}

/// The arrows between rooms, of those that have any.
fn arrows(all: &BTreeMap<Module, Source>) -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, used) in graph(all) {
        let Some(room) = module.first() else { continue };
        let others = used.into_iter().filter_map(|used| used.into_iter().next());
        arrows.entry(room.clone()).or_default().extend(others.filter(|other| other != room));
    }
    arrows
}

/// Circles of imports: the files of each, where there is more than one.
fn circles(all: &BTreeMap<Module, Source>) -> Vec<BTreeSet<Module>> {
    let graph = graph(all);
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut left = vec![from.clone()];
        while let Some(module) = left.pop() {
            for next in &graph[&module] {
                if seen.insert(next.clone()) {
                    left.push(next.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        all.keys().map(|module| (module, reach(module))).collect();
    let mut circles: BTreeSet<BTreeSet<Module>> = BTreeSet::new();
    for (module, others) in &reached {
        let mutual = others.iter().filter(|other| reached[other].contains(*module));
        let circle: BTreeSet<Module> = mutual.cloned().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join(name).join("src")
}

#[test]
fn rooms_use_only_what_is_drawn() {
    for (name, drawn) in [("tracer-core", CORE), ("tracer-user", USER)] {
        let all = sources(&folder(name));
        assert!(all.len() > 20, "{name} was not read");
        let found = arrows(&all);
        let drawn: BTreeMap<String, BTreeSet<String>> = drawn
            .iter()
            .map(|(room, others)| {
                ((*room).to_owned(), others.iter().map(|other| (*other).to_owned()).collect())
            })
            .collect();
        assert_eq!(found, drawn, "the arrows of {name}: found, and drawn");
    }
}

#[test]
fn no_circle_is_larger_than_three_files() {
    let mut knots = Vec::new();
    for name in ["tracer-core", "tracer-user"] {
        for circle in circles(&sources(&folder(name))) {
            let rooms: BTreeSet<&String> = circle.iter().filter_map(|file| file.first()).collect();
            let files: Vec<String> = circle.iter().map(|file| file.join("::")).collect();
            assert_eq!(rooms.len(), 1, "a circle across rooms of {name}: {files:?}");
            if circle.len() > 3 {
                println!("{name}: {}: {files:?}", files.len());
                knots.push((
                    rooms.iter().map(|room| (**room).clone()).collect::<String>(),
                    files.len(),
                ));
            }
        }
    }
    knots.sort();
    let known: Vec<(String, usize)> =
        KNOTS.iter().map(|(room, n)| ((*room).to_owned(), *n)).collect();
    assert_eq!(knots, known, "knots: found, and known");
}

#[test]
fn a_path_is_read_as_it_is_written() {
    let read = |text: &str| -> Vec<String> {
        paths_in(text).into_iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(
        read("crate::a::{b, c::{self, D as E}, f}"),
        ["crate::a::b", "crate::a::c", "crate::a::c::D", "crate::a::f"]
    );
    assert_eq!(read("a::b"), ["a::b"]);
    let roots = ["crate"].into();
    let found = paths("let x = crate::few::Few::new(); nocrate::y; use crate::{z};", &roots);
    let found: Vec<String> = found.into_iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["crate::few::Few::new", "crate::z"]);
}
