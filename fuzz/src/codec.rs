//! Bytes of the ring buffer to an event.

use tracer_common::abi::{Event, HEADER_BYTES, Record, Stack};
use tracer_common::codec::{Error, decode};

/// Panics where the decoder breaks a promise.
pub fn check(data: &[u8]) {
    let sizes = [size_of::<Event>(), size_of::<Record<Stack>>()];
    match decode(data) {
        Ok(decoded) => {
            assert!(sizes.contains(&data.len()));
            assert_eq!(decoded.hook as u8, decoded.event.hook);
            assert!(decoded.event.l3_offset <= decoded.event.header_len);
            assert!(usize::from(decoded.event.header_len) <= HEADER_BYTES);
            assert!(data.len() == sizes[1] || decoded.stack.iter().all(|a| *a == 0));
            assert_eq!(data.len() == sizes[1], decoded.event.parts != 0);
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            assert!(matches!(why, Error::Size(_)) || data.len() >= size_of::<Event>());
        }
    }
}
