//! Netlink attributes (`include/uapi/linux/netlink.h`): a length, a type, a value, padded to 4.

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attr<'a> {
    /// Its type, without the flags `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    pub kind: u16,
    /// Its payload.
    pub value: &'a [u8],
}

/// The attributes of a list, in order. It ends at the first one that is not whole.
#[derive(Clone, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
}

/// `NLA_HDRLEN`.
const HEADER: usize = 4;
/// `NLA_TYPE_MASK`.
const TYPE_MASK: u16 = 0x3fff;

impl<'a> Attrs<'a> {
    /// The attributes in `list`.
    pub const fn new(list: &'a [u8]) -> Self {
        Self { rest: list }
    }

    /// What is left: after the end, the bytes that are no whole attribute.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The value of the first attribute of this type.
    pub fn value_of(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|attr| attr.kind == kind).map(|attr| attr.value)
    }

    /// The only attribute of a list that has one and nothing else.
    pub fn only(mut self) -> Option<Attr<'a>> {
        let attr = self.next()?;
        self.rest.is_empty().then_some(attr)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let len = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & TYPE_MASK;
        let value = self.rest.get(HEADER..len)?;
        // The last attribute of a list may lack its padding.
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attr { kind, value })
    }
}

/// Bytes `at` to `at + N`.
pub fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A native-endian number.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

/// A native-endian number.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

/// A number in network byte order.
pub fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_be_bytes)
}

/// A number in network byte order.
pub fn be32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_be_bytes)
}

/// The number that all of `value` is.
pub fn whole_u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// The number that all of `value` is.
pub fn whole_u16(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_an_attribute_is_cut() {
        let list = [8, 0, 1, 0, 2, 0, 0, 0, 8, 0, 1, 0, 3];
        let mut attrs = Attrs::new(&list);
        let first = attrs.next().unwrap();
        assert_eq!((first.kind, first.value), (1, &[2, 0, 0, 0][..]));
        assert!(attrs.next().is_none());
        assert_eq!(attrs.rest(), &list[8..]);
    }

    #[test]
    fn flags_are_no_part_of_the_type_and_padding_none_of_the_value() {
        let list = [5, 0, 3, 0x80, 7, 0, 0, 0, 4, 0, 5, 0];
        let seen: Vec<_> = Attrs::new(&list).map(|a| (a.kind, a.value.to_vec())).collect();
        assert_eq!(seen, [(3, vec![7]), (5, vec![])]);
        assert!(Attrs::new(&list).only().is_none());
        assert_eq!(Attrs::new(&list[..5]).only().unwrap().value, [7]);
    }

    #[test]
    fn lengths_that_cannot_be_end_the_list() {
        for list in [[0, 0, 1, 0], [3, 0, 1, 0], [5, 0, 1, 0], [0xff, 0xff, 1, 0]] {
            assert!(Attrs::new(&list).next().is_none(), "{list:?}");
        }
    }
}
