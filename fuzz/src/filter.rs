//! Text to a filter.

use lasthop::filter::{describe, parse};
use tracer_common::flow::MAX_TERMS;

/// Panics where the grammar breaks a promise.
pub fn check(text: &str) {
    match parse(text) {
        Ok(filter) => {
            assert!(filter.n_terms as usize <= MAX_TERMS);
            let said = describe(&filter);
            assert_eq!(parse(&said), Ok(filter), "{text:?} is described as {said:?}");
        }
        Err(why) => {
            assert!((1..=text.chars().count() + 1).contains(&why.column), "{text:?}: {why}");
            assert!(!why.message.is_empty());
            assert!(!why.message.chars().any(char::is_control), "{text:?}: {:?}", why.message);
        }
    }
}
