//! Reads the rules of a namespace with the tools that own them.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::rules::{Candidate, Facts, Ruleset, parse_saved};
use crate::model::{Hop, Netfilter, Netns};
use crate::reconstruct::sight::Catalog;
use crate::topology;
use crate::verdict::hook::{Hook, HookPoint, Layer};

/// How long a tool may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a tool printed; killed when it takes too long.
pub(super) fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        command.spawn().map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
    let mut stdout = child.stdout.take();
    let text = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.as_mut().map_or(Ok(0), |out| out.read_to_end(&mut bytes)).map(|_| bytes)
        });
        let deadline = Instant::now() + PATIENCE;
        while !reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !reader.is_finished() {
            let _ = child.kill();
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("{program} ended with {status}")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Which rules may have dropped a packet at this hop. `now`: nanoseconds since the trace began.
/// `None` where the hop shows no hook or no IP packet.
pub fn blame(netns: &topology::Netns, name: Netns, hop: &Hop, now: u64) -> Option<Netfilter> {
    let sight = Catalog::default().sight(hop);
    let cause = sight.cause.as_deref()?;
    let hook = Hook::of(cause)?;
    let facts = Facts::of(hop, hook)?;
    let mut record = Netfilter {
        ts: now,
        netns: name,
        tuple: hop.tuple?,
        hook: hook.name(),
        way: "rules".to_owned(),
        rules: Vec::new(),
        certain: false,
        read: Vec::new(),
        failed: None,
    };
    let in_nft = sight.symbol().is_some_and(|s| s.starts_with("nft_"));
    let families = families(cause.symbols(), &facts);
    match topology::enter(netns, || candidates(&facts, &families, in_nft)) {
        Ok(Ok((found, read))) => {
            record.certain = found.first().is_some_and(|c| c.certain);
            record.rules = found.into_iter().map(|c| c.rule).collect();
            record.read = read.into_iter().map(str::to_owned).collect();
        }
        Ok(Err(e)) | Err(e) => record.failed = Some(e.to_string()),
    }
    Some(record)
}

/// The families whose rules were being run, by the function that runs them
/// (`net/netfilter/nft_chain_filter.c`); where it is not on the stack, those that see such packets.
fn families<'a>(symbols: impl Iterator<Item = &'a str>, facts: &Facts) -> Vec<&'static str> {
    let told = symbols.filter_map(|symbol| match symbol {
        "nft_do_chain_inet" | "nft_do_chain_inet_ingress" => Some("inet"),
        "nft_do_chain_ipv4" => Some("ip"),
        "nft_do_chain_ipv6" => Some("ip6"),
        "nft_do_chain_bridge" => Some("bridge"),
        "nft_do_chain_netdev" => Some("netdev"),
        "nft_do_chain_arp" => Some("arp"),
        _ => None,
    });
    // The innermost: a bridge's hook is still being run while IP's is.
    if let Some(told) = { told }.next() {
        return vec![told];
    }
    match (facts.hook.layer, facts.hook.point) {
        (Layer::Device, HookPoint::Egress) => vec!["netdev"],
        (Layer::Device, _) => vec!["netdev", "inet"],
        (Layer::Bridge, _) => vec!["bridge"],
        (Layer::Arp, _) => vec!["arp"],
        (Layer::Bridged | Layer::Ip, _) => vec!["inet", if facts.is_v4() { "ip" } else { "ip6" }],
    }
}

/// The candidates, and whose rules were held against the packet.
type Found = (Vec<Candidate>, Vec<&'static str>);

fn candidates(facts: &Facts, families: &[&'static str], in_nft: bool) -> io::Result<Found> {
    let prefix = if facts.is_v4() { "iptables" } else { "ip6tables" };
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    let read = nft(prefix);
    if let Ok(rules) = &read {
        found.extend(rules.candidates(facts, families));
        seen.extend(families);
    }
    let names = if facts.is_v4() { "ip_tables_names" } else { "ip6_tables_names" };
    let legacy = std::fs::read_to_string(format!("/proc/thread-self/net/{names}"));
    let of_ip = matches!(facts.hook.layer, Layer::Bridged | Layer::Ip);
    let has_legacy = of_ip && !in_nft && legacy.is_ok_and(|names| !names.trim().is_empty());
    if has_legacy {
        let saved = output(&format!("{prefix}-legacy-save"), &[])
            .or_else(|_| output(&format!("{prefix}-save"), &[]))?;
        found.extend(parse_saved(&saved).candidates(facts));
        seen.push(prefix);
    }
    match read {
        Err(e) if !has_legacy => Err(e),
        _ => Ok((found, seen)),
    }
}

fn nft(prefix: &str) -> io::Result<Ruleset> {
    let json = output("nft", &["-j", "-n", "list", "ruleset"])?;
    let readable = output("nft", &["-s", "-a", "list", "ruleset"])?;
    // Matches of iptables that nft has no words for.
    let saved = if json.contains("\"xt\"") {
        output(&format!("{prefix}-nft-save"), &[])
            .or_else(|_| output(&format!("{prefix}-save"), &[]))
            .map(|text| parse_saved(&text))
            .unwrap_or_default()
    } else {
        parse_saved("")
    };
    Ruleset::parse(json.as_bytes(), &readable, saved)
        .ok_or_else(|| io::Error::other("nft printed no JSON that is known here"))
}
