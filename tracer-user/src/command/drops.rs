//! `lasthop drops`.

use crate::cli::DropsArgs;

/// Not in this build: says so.
///
/// # Errors
/// Always.
pub fn run(_: &DropsArgs) -> anyhow::Result<u8> {
    anyhow::bail!(
        "this build cannot count drops yet; `lasthop trace` names the drops of the flows it follows"
    )
}
