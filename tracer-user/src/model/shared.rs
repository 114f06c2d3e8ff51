//! What many lines of a recording have in common is put into words once, and read once.
//!
//! Hop after hop is at the same few devices and ends in the same few functions. On reading, the text
//! of such an object is looked up first; only what was not read before is parsed, and equal text is
//! one object in memory. On writing, the text of an object is kept beside it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::LocalKey;

use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Ct, Dev, Drop, Eth, Netns, Ovs, Place, Tunnel, Tuple};

/// How many texts of one kind are remembered; past that it starts anew.
const MAX_KNOWN: usize = 4096;

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

/// What this thread has written of one kind, by where it is in memory: it is held, so that nothing
/// else comes to be there.
type Written<T> = RefCell<HashMap<*const (), (Arc<T>, Box<RawValue>), foldhash::fast::RandomState>>;

/// What is one object for many hops in a trace.
pub trait Shared: Serialize + 'static {
    /// What was written before.
    fn written() -> &'static LocalKey<Written<Self>>;
}

macro_rules! shared {
    ($($kind:ty),*) => {$(
        impl Shared for $kind {
            fn written() -> &'static LocalKey<Written<Self>> {
                thread_local!(static WRITTEN: Written<$kind> = RefCell::default());
                &WRITTEN
            }
        }
    )*};
}

shared!(Netns, Dev, Drop, Place, [String]);

/// Writes one.
///
/// # Errors
/// Those of the serializer.
pub fn write<S: Serializer, T: Shared + ?Sized>(one: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
    T::written().with_borrow_mut(|written| {
        let at = Arc::as_ptr(one).cast::<()>();
        if let Some((_, text)) = written.get(&at) {
            return text.serialize(to);
        }
        let text = to_raw_value(one).map_err(S::Error::custom)?;
        if written.len() >= MAX_KNOWN {
            written.clear();
        }
        let (_, text) = written.entry(at).or_insert((one.clone(), text));
        text.serialize(to)
    })
}

/// Writes one, where there is one.
///
/// # Errors
/// Those of the serializer.
#[expect(clippy::ref_option, reason = "serde hands over references")]
pub fn write_optional<S: Serializer, T: Shared>(
    one: &Option<Arc<T>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match one {
        Some(one) => write(one, to),
        None => to.serialize_none(),
    }
}

/// Reads one.
///
/// # Errors
/// It is none of that kind.
pub fn read<'de, D: Deserializer<'de>, T: Repeats>(from: D) -> Result<T, D::Error> {
    look_up(<&RawValue>::deserialize(from)?.get())
}

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
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(text.into(), new.clone());
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

    #[derive(Serialize)]
    struct Told {
        #[serde(serialize_with = "write_optional")]
        netns: Option<Arc<Netns>>,
    }

    #[test]
    fn an_object_is_written_as_it_is() {
        let told = |netns: &Arc<Netns>| {
            let told = Told { netns: Some(netns.clone()) };
            serde_json::to_string(&told).unwrap()
        };
        let mut router = Arc::new(Netns { inode: 7, name: Some("a\"b".to_owned()) });
        let text = r#"{"netns":{"inode":7,"name":"a\"b"}}"#;
        assert_eq!([told(&router), told(&router)], [text, text]);
        // Another one, which has taken its place.
        Arc::make_mut(&mut router).inode = 8;
        assert_eq!(told(&router), text.replace('7', "8"));
        assert_eq!(serde_json::to_string(&Told { netns: None }).unwrap(), r#"{"netns":null}"#);
    }

    #[test]
    fn memory_is_bounded() {
        for inode in 0..2 * MAX_KNOWN {
            netns(&format!("{{\"netns\":{{\"inode\":{inode}}}}}"));
        }
        assert!(Arc::<Netns>::known().with_borrow(HashMap::len) <= MAX_KNOWN);
    }
}
