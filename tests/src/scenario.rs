//! A scenario: a folder with `scenario.toml`, `topology.sh` and `traffic.sh`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::expect::Expectation;
use crate::machine;

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
    /// Kernel modules without which it cannot run.
    #[serde(default)]
    modules: Vec<String>,
    /// The kernels in whose guests it is run; none for one that this machine's kernel can run.
    #[serde(default)]
    kernels: Vec<String>,
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
    /// Kernel modules without which it cannot run.
    pub modules: Vec<String>,
    /// The kernels (`6.1`) in whose guests it is run; empty: on this machine's own.
    pub kernels: Vec<String>,
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
    let kernel = machine::kernel()?;
    let mut scenarios = Vec::new();
    for folder in folders {
        scenarios.extend(load(&folder, &kernel)?);
    }
    Ok(scenarios)
}

fn load(folder: &Path, kernel: &str) -> Result<Vec<Scenario>> {
    let path = folder.join("scenario.toml");
    let text = std::fs::read_to_string(&path)?;
    parse(folder, &text, kernel).with_context(|| format!("in {}", path.display()))
}

fn parse(folder: &Path, text: &str, kernel: &str) -> Result<Vec<Scenario>> {
    let mut whole: Value = toml::from_str(text)?;
    for twin in ["faulty", "healthy"] {
        if let Some(expectation) = whole.get_mut(twin) {
            settle(expectation, kernel)?;
        }
    }
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
            modules: file.modules,
            kernels: file.kernels,
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

/// Takes what the expectation says for certain kernels (`on."6.12"`) out of it, and puts that which
/// is for this one over the rest.
fn settle(expectation: &mut Value, kernel: &str) -> Result<()> {
    let Some(on) = expectation.as_object_mut().and_then(|object| object.remove("on")) else {
        return Ok(());
    };
    let Value::Object(mut on) = on else { bail!("`on` is no table of kernels") };
    if let Some(more) = on.remove(kernel) {
        lay_over(expectation, more);
    }
    Ok(())
}

/// Tables key by key; anything else instead of what was there.
fn lay_over(value: &mut Value, over: Value) {
    match (value, over) {
        (Value::Object(value), Value::Object(over)) => {
            for (key, over) in over {
                lay_over(value.entry(key).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over,
    }
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
        let both = parse(Path::new("/x/name"), TOML, "6.1").expect("parses");
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
        let error = parse(Path::new("/x/name"), &TOML.replace("{b_at}", "{c_at}"), "6.1");
        assert!(error.expect_err("no c").to_string().contains("c_at"));
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(parse(Path::new("/x/name"), &TOML.replace("exit", "exti"), "6.1").is_err());
    }

    #[test]
    fn what_is_said_for_one_kernel_holds_on_that_one() {
        let more = r#"
            [healthy.on."6.12"]
            reason = ["NEW"]
            verdict.packets = 3
        "#;
        let toml = format!("{TOML}{more}");
        let on = |kernel: &str| {
            let mut both = parse(Path::new("/x/name"), &toml, kernel).expect("parses");
            both.remove(0).healthy
        };
        assert_eq!(on("6.12").reason, ["NEW"]);
        assert_eq!(on("6.12").verdict["packets"], 3);
        assert_eq!(on("6.12").verdict["outcome"], "delivered");
        assert_eq!(on("6.1").reason, [""; 0]);
        assert_eq!(on("6.1").verdict["packets"], 24);
    }
}
