//! Reads the listing item by item: what is kept of each is small, and what is not kept is passed over.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::elements::Elements;
use super::super::lean::{self, Lean};
use super::super::value::{Left, Op, Right};
use super::{Base, Entry, Expression, Key, Ruleset, Table, Verdict};
use crate::tame;

/// How much a namespace's rules may take, bytes.
const MAX_SIZE: usize = 24 << 20;
/// How many things comparisons may look at; what is beyond is not known here.
const MAX_LEFTS: usize = 1024;

/// Reads it.
pub(super) fn read(json: impl BufRead) -> io::Result<Ruleset> {
    let mut reader = Reader::default();
    // The first is for all that there is no number left for.
    reader.left(Left::Unknown);
    tame::json(json, Listing(&mut reader))?;
    let mut rules = reader.rules;
    rules.bases.sort_by_key(|base| base.priority);
    rules.expressions.shrink_to_fit();
    Ok(rules)
}

#[derive(Default)]
struct Reader {
    rules: Ruleset,
    lefts: HashMap<Left, u16>,
}

impl Reader {
    fn left(&mut self, left: Left) -> u16 {
        if let Some(known) = self.lefts.get(&left) {
            return *known;
        }
        let number = self.rules.lefts.len();
        if number >= MAX_LEFTS {
            return 0;
        }
        self.rules.lefts.push(left.clone());
        self.lefts.insert(left, number as u16);
        number as u16
    }

    fn right(&mut self, value: Option<&Lean>) -> Right {
        let names = &mut self.rules.names;
        Right::of(value.unwrap_or(&Lean::Other), &mut |name| names.number(name))
    }

    fn key(&mut self, family: &str, table: &str, name: &str) -> Key {
        let names = &mut self.rules.names;
        let table = Table { family: names.number(family), name: names.number(table) };
        (table, names.number(name))
    }

    fn add_chain(&mut self, chain: &Lean) {
        let key = self.key(chain.text("family"), chain.text("table"), chain.text("name"));
        self.rules.size += 256;
        self.rules.chains.entry(key).or_default();
        let Some(hook) = chain.get("hook").and_then(Lean::as_text) else { return };
        let devices = match chain.get("dev") {
            Some(Lean::List(all)) => all,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        self.rules.bases.push(Base {
            key,
            hook: hook.into(),
            priority: chain.get("prio").and_then(Lean::signed).unwrap_or(0),
            drops: chain.text("policy") == "drop",
            devices: devices.iter().filter_map(Lean::as_text).map(Into::into).collect(),
        });
    }

    fn add_rule(&mut self, rule: &Lean) {
        let key = self.key(rule.text("family"), rule.text("table"), rule.text("chain"));
        let handle = rule.get("handle").and_then(Lean::number).unwrap_or(0);
        let first = self.rules.expressions.len() as u32;
        for expression in rule.get("expr").and_then(Lean::as_list).unwrap_or_default() {
            let Some((name, body)) = expression.first() else { continue };
            let Some(kept) = self.expression(name, body, key) else { continue };
            let is_last = matches!(
                kept,
                Expression::Verdict(_)
                    | Expression::Map { .. }
                    | Expression::NamedMap { .. }
                    | Expression::MayEnd
            );
            if matches!(
                kept,
                Expression::Verdict(Verdict::Refuses | Verdict::Jumps(_) | Verdict::Goes(_))
                    | Expression::Map { .. }
                    | Expression::NamedMap { .. }
                    | Expression::ForeignTarget(_)
            ) {
                self.rules.named.insert((key.0, handle));
            }
            self.rules.size += size_of::<Expression>() + size_of_more(&kept);
            self.rules.expressions.push(kept);
            if is_last {
                break;
            }
        }
        let count = self.rules.expressions.len() as u32 - first;
        self.rules.size += size_of::<Entry>();
        self.rules.chains.entry(key).or_default().push(Entry { handle, first, count });
    }

    /// `None`: it changes nothing for the packet's way.
    fn expression(&mut self, name: &str, body: &Lean, (table, _): Key) -> Option<Expression> {
        Some(match name {
            "match" => Expression::Match {
                left: self.left(Left::of(body.get("left").unwrap_or(&Lean::Other))),
                op: Op::of(body.text("op")),
                right: self.right(body.get("right")),
            },
            "xt" => {
                self.note_foreign(table);
                match body.text("type") {
                    "match" => Expression::ForeignMatch,
                    "target" => {
                        Expression::ForeignTarget(self.rules.names.number(body.text("name")))
                    }
                    _ => Expression::MayEnd,
                }
            }
            "queue" | "synproxy" | "tproxy" | "fwd" => Expression::MayEnd,
            "vmap" => {
                let left = self.left(Left::of(body.get("key").unwrap_or(&Lean::Other)));
                let data = body.get("data").unwrap_or(&Lean::Other);
                if let Some(name) = data.as_text().and_then(|name| name.strip_prefix('@')) {
                    Expression::NamedMap { left, name: self.rules.names.number(name) }
                } else if let Some(all) = data.get("set").and_then(Lean::as_list) {
                    let verdicts = all.iter().filter_map(|pair| self.pair(pair)).collect();
                    Expression::Map { left, verdicts }
                } else {
                    Expression::MayEnd
                }
            }
            "drop" | "reject" | "accept" | "return" | "jump" | "goto" | "dnat" | "snat"
            | "masquerade" | "redirect" => Expression::Verdict(self.verdict(name, body)),
            "counter" | "log" | "mangle" | "notrack" | "last" | "dup" | "flow" | "ct helper"
            | "ct timeout" | "ct expectation" | "secmark" | "reset" => return None,
            // What a limit, a quota or a route lookup says is not on the record; a set that it is to
            // be added to may be full, or limit each element; what is not known may be anything.
            _ => Expression::MayHold,
        })
    }

    fn note_foreign(&mut self, table: Table) {
        match self.rules.names.name(table.family) {
            "ip" => self.rules.has_foreign[0] = true,
            "ip6" => self.rules.has_foreign[1] = true,
            _ => {}
        }
    }

    fn verdict(&mut self, name: &str, body: &Lean) -> Verdict {
        match name {
            "drop" | "reject" => Verdict::Refuses,
            "accept" | "dnat" | "snat" | "masquerade" | "redirect" => Verdict::Ends,
            "return" => Verdict::Returns,
            "jump" => Verdict::Jumps(self.rules.names.number(body.text("target"))),
            "goto" => Verdict::Goes(self.rules.names.number(body.text("target"))),
            _ => Verdict::Unknown,
        }
    }

    /// A value and the verdict on it.
    fn pair(&mut self, pair: &Lean) -> Option<(Right, Verdict)> {
        let [value, verdict] = pair.as_list()? else { return None };
        let (name, body) = verdict.first()?;
        let (name, body) = (name.to_owned(), body.clone());
        Some((self.right(Some(value)), self.verdict(&name, &body)))
    }

    fn check_size(&self) -> Result<(), &'static str> {
        let names = self.rules.names.all.len() * 96;
        if self.rules.size + names > MAX_SIZE { Err("there are too many rules") } else { Ok(()) }
    }
}

fn size_of_more(expression: &Expression) -> usize {
    match expression {
        Expression::Match { right, .. } => right.size(),
        Expression::Map { verdicts, .. } => {
            verdicts.iter().map(|(right, _)| 32 + right.size()).sum()
        }
        _ => 0,
    }
}

/// `{"nftables":[…]}`
struct Listing<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Listing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Listing<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a listing of rules")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_there = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "nftables" {
                map.next_value_seed(Items(self.0))?;
                is_there = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if is_there { Ok(()) } else { Err(A::Error::missing_field("nftables")) }
    }
}

struct Items<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Item(self.0))?.is_some() {
            self.0.check_size().map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// `{"rule":{…}}`
struct Item<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "chain" => self.0.add_chain(&lean::seed(|seed| map.next_value_seed(seed))?),
                "rule" => self.0.add_rule(&lean::seed(|seed| map.next_value_seed(seed))?),
                "set" => map.next_value_seed(Set { reader: self.0, is_map: false })?,
                "map" => map.next_value_seed(Set { reader: self.0, is_map: true })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A named set, or map.
struct Set<'a> {
    reader: &'a mut Reader,
    is_map: bool,
}

impl<'de> DeserializeSeed<'de> for Set<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Set<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, is_map } = self;
        let [mut family, mut table, mut name] = [const { String::new() }; 3];
        let (mut elements, mut verdicts) = (Elements::default(), Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "family" => family = map.next_value()?,
                "table" => table = map.next_value()?,
                "name" => name = map.next_value()?,
                "elem" => map.next_value_seed(Members(|member: &Lean| {
                    if is_map {
                        verdicts.extend(reader.pair(member));
                    } else {
                        elements.push(reader.right(Some(member)));
                    }
                    let size = elements.size() + verdicts.len() * 48 + reader.rules.size;
                    if size > MAX_SIZE { Err("there are too many elements") } else { Ok(()) }
                }))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let key = reader.key(&family, &table, &name);
        elements.sort();
        reader.rules.size += 256 + elements.size() + verdicts.len() * 48;
        if is_map {
            reader.rules.maps.insert(key, verdicts.into());
        } else {
            reader.rules.sets.insert(key, elements);
        }
        Ok(())
    }
}

/// The elements of a set, one by one.
struct Members<F>(F);

impl<'de, F: FnMut(&Lean) -> Result<(), &'static str>> DeserializeSeed<'de> for Members<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&Lean) -> Result<(), &'static str>> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(member) = lean::seed(|seed| list.next_element_seed(seed))? {
            (self.0)(&member).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
