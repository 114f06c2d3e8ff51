//! Columns of an OVSDB table, each of the type that it should have (RFC 7047, 5.1). What has another
//! is an error, what was not asked for is passed over unread.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// How many members of a set are read.
const MAX_MEMBERS: usize = 65_536;
/// How many pairs of a map are kept, and how long their texts may be, bytes.
const MAX_PAIRS: usize = 1024;

/// The name of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(u128);

impl Uuid {
    /// Its first 32 bits.
    pub const fn start(self) -> u32 {
        (self.0 >> 96) as u32
    }
}

impl FromStr for Uuid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let lengths = text.split('-').map(str::len);
        let is_one = lengths.eq([8, 4, 4, 4, 12])
            && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        let digits = text.replace('-', "");
        let number = is_one.then(|| u128::from_str_radix(&digits, 16).ok());
        number.flatten().map(Self).ok_or(())
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |from: u32, len: u32| self.0 >> from & ((1 << len) - 1);
        let (time, version) = (group(96, 32), [group(80, 16), group(64, 16), group(48, 16)]);
        write!(f, "{time:08x}")?;
        version.iter().try_for_each(|part| write!(f, "-{part:04x}"))?;
        write!(f, "-{:012x}", group(0, 48))
    }
}

/// Of another type than it should be.
pub struct Another;

/// What a column can hold one or several of.
pub trait Atom: Sized {
    /// What it is, for messages.
    const KIND: &'static str;

    /// From text. `None`: one that nobody asks for.
    ///
    /// # Errors
    /// It is none.
    fn of_text(_: &str) -> Result<Option<Self>, Another> {
        Err(Another)
    }

    /// From a number; see [`Atom::of_text`].
    ///
    /// # Errors
    /// It is none.
    fn of_number(_: i64) -> Result<Option<Self>, Another> {
        Err(Another)
    }

    /// From `["uuid", TEXT]`; see [`Atom::of_text`].
    ///
    /// # Errors
    /// It is none.
    fn of_uuid(_: &str) -> Result<Option<Self>, Another> {
        Err(Another)
    }
}

impl Atom for String {
    const KIND: &'static str = "text";

    fn of_text(text: &str) -> Result<Option<Self>, Another> {
        Ok(Some(text.to_owned()))
    }
}

impl Atom for Uuid {
    const KIND: &'static str = "a UUID";

    fn of_uuid(text: &str) -> Result<Option<Self>, Another> {
        text.parse().map(Some).map_err(|()| Another)
    }
}

/// Numbers out of range are none: an `ofport` of -1.
macro_rules! number {
    ($($number:ty),*) => { $(impl Atom for $number {
        const KIND: &'static str = "a number";

        fn of_number(number: i64) -> Result<Option<Self>, Another> {
            Ok(number.try_into().ok())
        }
    })* };
}
number!(u16, u32);

/// A column that holds one atom, a set of them, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Atoms<A>(pub Vec<A>);

impl<A> Default for Atoms<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Clone> Atoms<A> {
    /// The first.
    pub fn first(&self) -> Option<A> {
        self.0.first().cloned()
    }
}

/// Reads one atom, or, where that may be, a set.
struct Atomic<A, const SET: bool>(PhantomData<A>);

impl<'de, A: Atom, const SET: bool> Visitor<'de> for Atomic<A, SET> {
    type Value = Vec<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A::KIND)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<A>, E> {
        let wrong = |_: Another| E::invalid_type(Unexpected::Other("text"), &self);
        Ok(A::of_text(text).map_err(wrong)?.into_iter().collect())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<A>, E> {
        let wrong = |_: Another| E::invalid_type(Unexpected::Signed(number), &self);
        Ok(A::of_number(number).map_err(wrong)?.into_iter().collect())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<A>, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut pair: S) -> Result<Vec<A>, S::Error> {
        let wrong = || S::Error::invalid_type(Unexpected::Seq, &self);
        let atoms = match pair.next_element::<Tag>()?.ok_or_else(wrong)? {
            Tag::Uuid => {
                let text: String = pair.next_element()?.ok_or_else(wrong)?;
                A::of_uuid(&text).map_err(|_: Another| wrong())?.into_iter().collect()
            }
            Tag::Set if SET => pair.next_element::<Members<A>>()?.ok_or_else(wrong)?.0,
            Tag::Set | Tag::Map => return Err(wrong()),
        };
        end(pair, atoms)
    }
}

fn end<'de, S: SeqAccess<'de>, T>(mut pair: S, value: T) -> Result<T, S::Error> {
    match pair.next_element::<IgnoredAny>()? {
        None => Ok(value),
        Some(_) => Err(S::Error::custom("a list of two is longer")),
    }
}

/// The first of two: what the second is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tag {
    Uuid,
    Set,
    Map,
}

impl<'de, A: Atom> Deserialize<'de> for Atoms<A> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Atomic::<A, true>(PhantomData)).map(Self)
    }
}

/// One atom.
struct One<A>(Option<A>);

impl<'de, A: Atom> Deserialize<'de> for One<A> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut atoms = from.deserialize_any(Atomic::<A, false>(PhantomData))?;
        Ok(Self(atoms.pop()))
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        One::deserialize(from)?.0.ok_or_else(|| D::Error::custom("there is no UUID"))
    }
}

/// The members of a set.
struct Members<A>(Vec<A>);

impl<'de, A: Atom> Deserialize<'de> for Members<A> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All<A>(PhantomData<A>);
        impl<'de, A: Atom> Visitor<'de> for All<A> {
            type Value = Vec<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list, each {}", A::KIND)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vec<A>, S::Error> {
                let mut all = Vec::new();
                let mut count = 0;
                while let Some(One(atom)) = list.next_element()? {
                    count += 1;
                    if count > MAX_MEMBERS {
                        let why = format!("a set of more than {MAX_MEMBERS} members");
                        return Err(S::Error::custom(why));
                    }
                    all.extend(atom);
                }
                Ok(all)
            }
        }
        from.deserialize_seq(All(PhantomData)).map(Self)
    }
}

/// A column that holds texts by texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Vec<(String, String)>);

impl Texts {
    /// The text of this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut pair: S) -> Result<Texts, S::Error> {
                let wrong = || S::Error::invalid_type(Unexpected::Seq, &self);
                let Tag::Map = pair.next_element::<Tag>()?.ok_or_else(wrong)? else {
                    return Err(wrong());
                };
                let pairs = pair.next_element::<Pairs>()?.ok_or_else(wrong)?.0;
                end(pair, Texts(pairs))
            }
        }
        from.deserialize_any(Map)
    }
}

/// The pairs of a map.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of pairs of texts")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut all = Vec::new();
                while let Some(pair) = list.next_element()? {
                    if all.len() == MAX_PAIRS {
                        return Err(S::Error::custom(format!("a map of more than {MAX_PAIRS}")));
                    }
                    all.push(pair);
                }
                Ok(all)
            }
        }
        from.deserialize_seq(All).map(Self)
    }
}

/// What came instead of an answer: text (`unixctl`), or an error with its details (RFC 7047, 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint(pub String);

impl<'de> Deserialize<'de> for Complaint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Complaint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an error in words")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Complaint, E> {
                Ok(Complaint(text.trim().to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Complaint, M::Error> {
                let (mut error, mut details) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "error" => error = map.next_value::<Option<String>>()?,
                        "details" => details = map.next_value::<Option<String>>()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let words: Vec<_> = error.into_iter().chain(details).collect();
                Ok(Complaint(words.join(": ")))
            }
        }
        from.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    const ID: &str = "cd5edc4b-1111-2222-3333-444455556666";

    fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_str(&text.replace("ID", ID)).map_err(|e| e.to_string())
    }

    fn uuid() -> Uuid {
        ID.parse().unwrap()
    }

    #[test]
    fn a_uuid_is_read_and_written() {
        assert_eq!((uuid().to_string().as_str(), uuid().start()), (ID, 0xcd5e_dc4b));
        for wrong in ["", "cd5edc4b", "cd5edc4b-1111-2222-3333-44445555666g", &ID[1..]] {
            assert_eq!(wrong.parse::<Uuid>(), Err(()), "{wrong}");
        }
        assert_eq!(read(r#"["uuid","ID"]"#), Ok(uuid()));
        assert!(read::<Uuid>(r#"["set",[["uuid","ID"]]]"#).is_err());
    }

    #[test]
    fn one_a_set_and_none() {
        let atoms = |text| read::<Atoms<Uuid>>(text).map(|atoms| atoms.0);
        assert_eq!(atoms(r#"["uuid","ID"]"#), Ok(vec![uuid()]));
        assert_eq!(atoms(r#"["set",[["uuid","ID"],["uuid","ID"]]]"#), Ok(vec![uuid(); 2]));
        assert_eq!(atoms(r#"["set",[]]"#), Ok(vec![]));
        assert_eq!(read::<Atoms<u16>>("7").unwrap().0, [7]);
        assert_eq!(read::<Atoms<u16>>(r#"["set",[1,-1,70000,2]]"#).unwrap().0, [1, 2]);
        assert_eq!(read::<Atoms<String>>(r#"["set",["a"]]"#).unwrap().first(), Some("a".into()));
    }

    #[test]
    fn another_type_is_an_error_and_nothing_is_nested() {
        for wrong in [
            "7",
            "null",
            "{}",
            "[]",
            r#""text""#,
            r#"["uuid"]"#,
            r#"["uuid",7]"#,
            r#"["uuid","ID",7]"#,
            r#"["set",7]"#,
            r#"["set",["ID"]]"#,
            r#"["set",[["set",[["uuid","ID"]]]]]"#,
            r#"["map",[]]"#,
        ] {
            assert!(read::<Atoms<Uuid>>(wrong).is_err(), "{wrong}");
        }
        let deep = format!("{}7{}", r#"["set",["#.repeat(60), "]]".repeat(60));
        assert!(read::<Atoms<u16>>(&deep).is_err());
        let many = format!(r#"["set",[7{}]]"#, ",7".repeat(MAX_MEMBERS));
        assert!(read::<Atoms<u16>>(&many).unwrap_err().contains("more than 65536"));
    }

    #[test]
    fn a_map_has_texts_and_nothing_else() {
        let map = read::<Texts>(r#"["map",[["a","1"],["b","2"]]]"#).unwrap();
        assert_eq!((map.value("b"), map.value("c")), (Some("2"), None));
        for wrong in ["7", r#"["set",[]]"#, r#"["map",[["a"]]]"#, r#"["map",[["a",1]]]"#, "{}"] {
            assert!(read::<Texts>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_complaint_is_text_or_has_some() {
        assert_eq!(read::<Complaint>(r#"" no \n""#).unwrap().0, "no");
        let object = r#"{"error":"unknown database","syntax":[1],"details":"no x"}"#;
        assert_eq!(read::<Complaint>(object).unwrap().0, "unknown database: no x");
        assert!(read::<Complaint>("7").is_err());
    }
}
