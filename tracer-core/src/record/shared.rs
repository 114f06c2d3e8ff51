//! What many lines of a recording have in common is read once.
//!
//! Hop after hop is at the same few devices and ends in the same few functions. The text of such an
//! object is looked up first; only what was not read before is parsed, and equal text is one object
//! in memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::LocalKey;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Ct, Dev, Drop, Eth, Netns, Ovs, Place, Tunnel, Tuple};

/// How many texts of one kind are remembered; past that it starts anew.
const MAX_KNOWN: usize = 2048;
/// Longer ones are not, bytes: a hostile recording has no share in the memory.
const MAX_TEXT: usize = 1024;

/// What this thread has read of one kind, by its text.
type Known<T> = RefCell<HashMap<Box<str>, T, foldhash::fast::RandomState>>;

/// What repeats from line to line; cheap to copy.
pub trait Repeats: Clone + DeserializeOwned + 'static {
    /// What was read before.
    fn known() -> &'static LocalKey<Known<Self>>;
}

macro_rules! repeats {
    ($($kind:ty),*) => {$(
        impl Repeats for $kind {
            fn known() -> &'static LocalKey<Known<Self>> {
                thread_local!(static KNOWN: Known<$kind> = RefCell::default());
                &KNOWN
            }
        }
    )*};
}

repeats!(
    Eth,
    Tuple,
    Arc<Netns>,
    Arc<Dev>,
    Arc<Tunnel>,
    Arc<Ovs>,
    Arc<Ct>,
    Arc<Drop>,
    Arc<Place>,
    Arc<[String]>
);

/// Reads one that may be `null`.
///
/// # Errors
/// It is none of that kind.
pub fn optional<'de, D: Deserializer<'de>, T: Repeats>(from: D) -> Result<Option<T>, D::Error> {
    match <&RawValue>::deserialize(from)?.get() {
        "null" => Ok(None),
        text => look_up(text).map(Some),
    }
}

fn look_up<T: Repeats, E: serde::de::Error>(text: &str) -> Result<T, E> {
    T::known().with_borrow_mut(|known| {
        if let Some(found) = known.get(text) {
            return Ok(found.clone());
        }
        let new: T = serde_json::from_str(text).map_err(E::custom)?;
        if text.len() <= MAX_TEXT {
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(text.into(), new.clone());
        }
        Ok(new)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Line {
        #[serde(default, deserialize_with = "optional")]
        netns: Option<Arc<Netns>>,
    }

    fn netns(line: &str) -> Option<Arc<Netns>> {
        serde_json::from_str::<Line>(line).unwrap().netns
    }

    #[test]
    fn equal_text_is_one_object() {
        let router = netns(r#"{"netns":{"inode":7,"name":"router"}}"#).unwrap();
        let again = netns(r#"{"x":1,"netns":{"inode":7,"name":"router"}}"#).unwrap();
        assert!(Arc::ptr_eq(&router, &again));
        assert_eq!((router.inode, router.name.as_deref()), (7, Some("router")));
        assert_eq!(netns(r#"{"netns":{"inode":8}}"#).unwrap().inode, 8);
        assert_eq!((netns(r#"{"netns":null}"#), netns("{}")), (None, None));
        assert!(serde_json::from_str::<Line>(r#"{"netns":{"inode":-1}}"#).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        for inode in 0..2 * MAX_KNOWN {
            netns(&format!("{{\"netns\":{{\"inode\":{inode}}}}}"));
        }
        let known = || Arc::<Netns>::known().with_borrow(HashMap::len);
        assert!(known() <= MAX_KNOWN);
        let before = known();
        let long = "x".repeat(MAX_TEXT);
        let line = format!("{{\"netns\":{{\"inode\":1,\"name\":\"{long}\"}}}}");
        assert_eq!(netns(&line).unwrap().name, Some(long));
        assert_eq!(known(), before);
    }
}
