//! Bytes of an action list to the words of `ovs-dpctl`.

use tracer_core::ovs::actions::{CtLayout, Form, text_of};

/// The longest text, its closing `…` included.
const LONGEST: usize = 8192 + '…'.len_utf8();
const LAYOUT: CtLayout = CtLayout {
    helper: 0,
    zone: 8,
    flags: 24,
    family: 26,
    mark: 32,
    labels: 40,
    timeout: Some(72),
    range: Some(112),
    size: 160,
};

/// Panics where the decoder breaks a promise.
pub fn check(data: &[u8]) {
    for form in [Form::Netlink, Form::Memory(None), Form::Memory(Some(&LAYOUT))] {
        let whole = text_of(data, form);
        assert!(!whole.is_empty() && whole.len() <= LONGEST);
        assert!(!whole.chars().any(char::is_control), "{whole:?}");
        assert_eq!(data.is_empty(), whole == "drop" && !is_drop_action(data));
        if !whole.contains('…') {
            assert_eq!(whole.matches('(').count(), whole.matches(')').count(), "{whole}");
            let twice = text_of(&aligned(data).repeat(2), form);
            let expected = if data.is_empty() { whole } else { format!("{whole},{whole}") };
            assert!(twice == expected || twice.ends_with('…'), "{twice}\n{expected}");
        }
    }
}

/// The list, with the padding that its last attribute may lack.
fn aligned(data: &[u8]) -> Vec<u8> {
    let mut list = data.to_vec();
    list.resize(data.len().next_multiple_of(4), 0);
    list
}

/// A list of one explicit drop (`OVS_ACTION_ATTR_DROP`).
fn is_drop_action(data: &[u8]) -> bool {
    data.len() == 8
}
