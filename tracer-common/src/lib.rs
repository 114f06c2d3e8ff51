//! What lasthop's kernel programs and its collector agree on: the layout of one event
//! ([`abi`], [`codec`]), the one packet parser ([`source`], [`packet`], [`transport`], [`tunnel`]), what
//! identifies a packet ([`fingerprint`]), the flow filter ([`flow`]) and what drops are counted by
//! ([`drops`]).
//!
//! `no_std`, no dependencies, no `unsafe`: the same code is checked by the kernel's verifier, by the
//! unit and property tests, and by the fuzz target.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod abi;
pub mod checksum;
pub mod codec;
pub mod conntrack;
pub mod drops;
pub mod fingerprint;
pub mod flow;
pub mod glance;
pub mod ovs;
pub mod packet;
pub mod ports;
pub mod source;
pub mod transport;
pub mod tunnel;
