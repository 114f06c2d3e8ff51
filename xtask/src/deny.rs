//! Licences, origins and doubles of all packages that lasthop is built from: `deny.toml`.
//!
//! Known holes (`advisories`) are not looked up: their list is a repository of its own, which would
//! have the tests depend on the network, and fail one day without a change.

use std::process::Command;

use anyhow::Result;

use crate::step;
use crate::test::Count;
use crate::tools::Tool;

/// Built without optimisation, which takes half the time: it runs for two seconds.
const TOOL: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", options: &["--no-default-features", "--debug"] };

/// The two workspaces, each with a lock file of its own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

/// Checks them; each is a test.
pub(crate) fn part() -> Result<Count> {
    let deny = TOOL.ensure()?;
    let mut count = Count::default();
    for manifest in MANIFESTS {
        let mut check = Command::new(&deny);
        check.args(["--manifest-path", manifest, "--workspace", "--color", "never"]);
        // What only the other one has is no mistake in the configuration.
        check.args(["--config", "deny.toml", "check", "--hide-inclusion-graph"]);
        for lint in ["unmatched-skip", "unnecessary-skip", "license-exception-not-encountered"] {
            check.args(["--allow", lint]);
        }
        check.args(["licenses", "bans", "sources"]).current_dir(crate::root());
        let title = format!("checking the packages of {manifest}");
        let done = step::attempt(&title, &mut check)?;
        if done.status.success() {
            count += Count::PASSED;
        } else {
            step::show_tail(&done);
            count += Count::failure(title);
        }
    }
    Ok(count)
}
