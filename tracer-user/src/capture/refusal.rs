//! The kernel's refusals as one line for people.

/// An error and its causes, one line.
pub fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        let more = c.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = c.source();
    }
    // The end of the verifier's log tells why.
    let text = match text.split_once("Verifier output:") {
        Some((call, log)) if log.trim().is_empty() => call.trim_end_matches([' ', '.']).to_owned(),
        Some((call, log)) => {
            let log = log.trim();
            let from = log.char_indices().rev().nth(1500).map_or(0, |(i, _)| i);
            format!("{call}verifier: … {}", log.get(from..).unwrap_or(log))
        }
        None => text,
    };
    text.replace('\n', " ")
}
