//! What many lines of a recording have in common is written once.
//!
//! The other side of [`super::shared`]: hop after hop is at the same few devices and ends in the same
//! few functions. The JSON of such an object is kept, and put into each line as it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::thread::LocalKey;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Ct, Dev, Drop, Eth, Netns, Ovs, Place, Tuple};

/// How many objects of one kind are remembered; past that it starts anew.
const MAX_KNOWN: usize = 2048;

/// What this thread has written of one kind: by its key, the object and its JSON.
pub type Known<T> =
    RefCell<HashMap<<T as Repeats>::Key, (T, Box<RawValue>), foldhash::fast::RandomState>>;

/// What repeats from line to line; cheap to copy.
pub trait Repeats: Clone + Serialize + 'static {
    /// Tells it from all others that there are while this one is kept.
    type Key: Eq + Hash;
    /// Its key.
    fn key(&self) -> Self::Key;
    /// What was written before.
    fn known() -> &'static LocalKey<Known<Self>>;
}

/// `$kind`, told from others by `$key`.
macro_rules! repeats {
    ($($kind:ty, $key:ty, $self:ident => $value:expr;)*) => {$(
        impl Repeats for $kind {
            type Key = $key;

            fn key(&$self) -> Self::Key {
                $value
            }

            fn known() -> &'static LocalKey<Known<Self>> {
                thread_local!(static KNOWN: Known<$kind> = RefCell::default());
                &KNOWN
            }
        }
    )*};
}

// What is shared in memory is told by where it is: as long as it is kept, nothing else is there.
repeats! {
    Eth, Self, self => *self;
    Tuple, Self, self => *self;
    Arc<Netns>, usize, self => Arc::as_ptr(self).addr();
    Arc<Dev>, usize, self => Arc::as_ptr(self).addr();
    Arc<Ovs>, usize, self => Arc::as_ptr(self).addr();
    Arc<Ct>, usize, self => Arc::as_ptr(self).addr();
    Arc<Drop>, usize, self => Arc::as_ptr(self).addr();
    Arc<Place>, usize, self => Arc::as_ptr(self).addr();
    Arc<[String]>, usize, self => Arc::as_ptr(self).addr();
}

/// Writes one.
///
/// # Errors
/// The writer's.
pub fn write<S: Serializer, T: Repeats>(one: &T, to: S) -> Result<S::Ok, S::Error> {
    T::known().with_borrow_mut(|known| {
        let key = one.key();
        if let Some((_, json)) = known.get(&key) {
            return json.serialize(to);
        }
        let json = to_raw_value(one).map_err(S::Error::custom)?;
        let written = json.serialize(to);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, (one.clone(), json));
        written
    })
}

/// Writes one that there may be.
///
/// # Errors
/// The writer's.
pub fn optional<S: Serializer, T: Repeats>(one: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match one {
        Some(one) => write(one, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Line {
        #[serde(serialize_with = "optional")]
        netns: Option<Arc<Netns>>,
    }

    fn netns(inode: u32) -> Arc<Netns> {
        Arc::new(Netns { inode, name: Some("router".to_owned()), path: None })
    }

    fn line(netns: Option<Arc<Netns>>) -> String {
        serde_json::to_string(&Line { netns }).unwrap()
    }

    #[test]
    fn it_reads_as_if_it_were_written_each_time() {
        let (first, second) = (netns(7), netns(8));
        let expected = |inode| format!(r#"{{"netns":{{"inode":{inode},"name":"router"}}}}"#);
        for _ in 0..2 {
            assert_eq!(line(Some(first.clone())), expected(7));
            assert_eq!(line(Some(second.clone())), expected(8));
        }
        assert_eq!(line(None), r#"{"netns":null}"#);
    }

    #[test]
    fn what_comes_to_be_where_another_was_is_not_taken_for_it() {
        for inode in 0..100 {
            assert!(line(Some(netns(inode))).contains(&format!(":{inode},")));
        }
    }

    #[test]
    fn memory_is_bounded() {
        for inode in 0..2 * MAX_KNOWN {
            line(Some(netns(inode as u32)));
        }
        assert!(Arc::<Netns>::known().with_borrow(HashMap::len) <= MAX_KNOWN);
    }
}
