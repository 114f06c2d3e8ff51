//! lasthop's kernel programs: they see packets, pick out the flow that is traced, and write one
//! event per sighting. They never change a packet.
//!
//! Two speeds: nearly every packet is of no concern, and costs a parse of its headers and a compare
//! ([`judge`]); only one that matches reserves room in the ring buffer ([`emit`]).
#![no_std]
#![no_main]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the attribute macros of aya hand a program its context by value"
)]
#![feature(asm_experimental_arch)]

mod conntrack;
mod emit;
mod hooks;
mod judge;
mod kernel;
mod log;
mod maps;
mod ovs;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a program that could get here: nothing in this crate panics.
    loop {}
}

/// `bpf_probe_read_kernel` and the ring buffer's helpers are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
