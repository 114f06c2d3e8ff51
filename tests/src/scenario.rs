//! A scenario: a folder with `scenario.toml`, `topology.sh` and `traffic.sh`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::expect::Expectation;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    why: String,
    filter: String,
    /// More options for `lasthop trace`.
    #[serde(default)]
    options: Vec<String>,
    /// Commands without which it cannot run.
    #[serde(default)]
    needs: Vec<String>,
    /// Values for IPv4; a scenario without them is not run over IPv4.
    ipv4: Option<BTreeMap<String, Value>>,
    /// Values for IPv6; likewise.
    ipv6: Option<BTreeMap<String, Value>>,
    faulty: Option<Expectation>,
    healthy: Expectation,
}

/// A scenario for one address family, its values filled in.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `NAME/ipv4` or `NAME/ipv6`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// One line: what happens.
    pub title: String,
    /// Why it matters to whoever runs a network.
    pub why: String,
    /// The filter for `lasthop trace`.
    pub filter: String,
    /// More options for it.
    pub options: Vec<String>,
    /// Commands without which it cannot run.
    pub needs: Vec<String>,
    /// What the scripts find in their environment.
    pub environment: BTreeMap<String, String>,
    /// What must come out with the fault; none for a scenario that is only about health.
    pub faulty: Option<Expectation>,
    /// What must come out without it.
    pub healthy: Expectation,
}

/// Reads every scenario under `root`, by name, IPv4 first.
pub fn all(root: &Path) -> Result<Vec<Scenario>> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .with_context(|| format!("cannot read {}", root.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.join("scenario.toml").is_file())
        .collect();
    folders.sort();
    let mut scenarios = Vec::new();
    for folder in folders {
        scenarios.extend(load(&folder)?);
    }
    Ok(scenarios)
}

fn load(folder: &Path) -> Result<Vec<Scenario>> {
    let path = folder.join("scenario.toml");
    let text = std::fs::read_to_string(&path)?;
    parse(folder, &text).with_context(|| format!("in {}", path.display()))
}

fn parse(folder: &Path, text: &str) -> Result<Vec<Scenario>> {
    let whole: Value = toml::from_str(text)?;
    let raw = File::deserialize(&whole)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut scenarios = Vec::new();
    for (number, values) in [("4", &raw.ipv4), ("6", &raw.ipv6)] {
        let Some(values) = values else { continue };
        let values = with_derived(number, values);
        let mut filled = whole.clone();
        fill(&mut filled, &values)?;
        let file = File::deserialize(&filled)?;
        scenarios.push(Scenario {
            name: format!("{name}/ipv{number}"),
            folder: folder.to_owned(),
            title: file.title,
            why: file.why.split_whitespace().collect::<Vec<_>>().join(" "),
            filter: file.filter,
            options: file.options,
            needs: file.needs,
            environment: values.iter().map(|(k, v)| (k.to_uppercase(), plain(v))).collect(),
            faulty: file.faulty,
            healthy: file.healthy,
        });
    }
    if scenarios.is_empty() {
        bail!("neither [ipv4] nor [ipv6] is there");
    }
    Ok(scenarios)
}

/// A value as it stands in a text or in the environment.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The family's values, and for each address also `NAME_at`: the form that a port can follow.
fn with_derived(family: &str, values: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let icmp = if family == "4" { "icmp" } else { "icmp6" };
    let mut all = values.clone();
    all.insert("family".to_owned(), family.into());
    all.insert("icmp".to_owned(), icmp.into());
    for (name, value) in values {
        match plain(value).parse() {
            Ok(IpAddr::V4(address)) => all.insert(format!("{name}_at"), address.to_string().into()),
            Ok(IpAddr::V6(address)) => {
                all.insert(format!("{name}_at"), format!("[{address}]").into())
            }
            Err(_) => None,
        };
    }
    all
}

/// Puts the values in for `{name}` in all texts. A text that is nothing but `{name}` becomes the
/// value itself, a number stays one.
fn fill(value: &mut Value, values: &BTreeMap<String, Value>) -> Result<()> {
    match value {
        Value::String(text) => {
            let whole = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
            match whole.and_then(|name| values.get(name)) {
                Some(known) => *value = known.clone(),
                None => *text = fill_text(text, values)?,
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, values))?,
        Value::Object(map) => map.values_mut().try_for_each(|item| fill(item, values))?,
        _ => {}
    }
    Ok(())
}

fn fill_text(text: &str, values: &BTreeMap<String, Value>) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').with_context(|| format!("no }} in {text:?}"))?;
        let Some(value) = values.get(name) else { bail!("no value for {{{name}}} in {text:?}") };
        filled.push_str(before);
        filled.push_str(&plain(value));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        title = "t"
        why = "w"
        filter = "udp {a_at}:1 -> {b_at}:2"
        [ipv4]
        a = "10.0.0.1"
        b = "10.0.0.2"
        length = 24
        [ipv6]
        a = "fd00::1"
        b = "fd00::2"
        length = 64
        [healthy]
        exit = 0
        verdict = { outcome = "delivered", packets = "{length}", forward = { src = "{a}" } }
    "#;

    #[test]
    fn one_folder_is_one_scenario_per_family() {
        let both = parse(Path::new("/x/name"), TOML).expect("parses");
        assert_eq!(both[0].name, "name/ipv4");
        assert_eq!(both[0].filter, "udp 10.0.0.1:1 -> 10.0.0.2:2");
        assert_eq!(both[1].filter, "udp [fd00::1]:1 -> [fd00::2]:2");
        assert_eq!(both[1].environment["A_AT"], "[fd00::1]");
        assert_eq!(both[1].environment["LENGTH"], "64");
        assert_eq!(both[1].environment["FAMILY"], "6");
        assert_eq!(both[1].healthy.verdict["forward"]["src"], "fd00::1");
        assert_eq!(both[1].healthy.verdict["packets"], 64);
    }

    #[test]
    fn a_value_that_nobody_gave_is_an_error() {
        let error = parse(Path::new("/x/name"), &TOML.replace("{b_at}", "{c_at}"));
        assert!(error.expect_err("no c").to_string().contains("c_at"));
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(parse(Path::new("/x/name"), &TOML.replace("exit", "exti")).is_err());
    }
}
