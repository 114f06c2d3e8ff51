//! Every offset and every read of kernel memory.
//!
//! The offsets come from the running kernel's BTF: the collector writes them into `.rodata` before
//! the load, so the verifier knows them as constants. Where a hook hands over a BTF-typed pointer a
//! field is one load ([`Direct`]); elsewhere it is a helper call ([`Probed`]).

use core::ptr;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_skb_load_bytes};
use tracer_common::abi::{DEV_NAME_BYTES, Layout, SKB_BLOCK_BYTES};
use tracer_common::source::Source;

use crate::maps::Word;

/// Where the fields of this kernel's structures are.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::UNKNOWN;

/// One value of [`Layout`], read so that the compiler keeps it a load from `.rodata`.
macro_rules! at {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::LAYOUT.$field)
    };
}
pub(crate) use at;

/// Reads a constant that was written after this program was compiled.
#[inline(always)]
pub fn constant<T: Copy>(of: &'static T) -> T {
    // SAFETY: a reference to a static.
    unsafe { ptr::read_volatile(of) }
}

/// A way to read a kernel structure.
pub trait Memory {
    /// The `T` at `offset` bytes from `base`, or `None` where nothing can be read.
    fn load<T: Copy>(base: u64, offset: u32) -> Option<T>;
}

impl Probed {
    /// The `T` at `offset` bytes from `base`, or zero where nothing can be read
    /// (`bpf_probe_read_kernel_common` clears what it cannot fill). Without a branch: each is two ways
    /// for the verifier to walk.
    #[inline(always)]
    pub fn or_zero<T: Copy>(base: u64, offset: u32) -> T {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        let from = base.wrapping_add(u64::from(offset));
        // SAFETY: the helper writes exactly the size of `value`, whatever it returns; only integers
        // are read this way.
        unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                from as *const _,
            );
            value.assume_init()
        }
    }
}

/// A device's name, where it is to be written.
pub type NameOut = *mut [u8; DEV_NAME_BYTES];

/// Writes the name of the device at `dev`; empty where nothing can be read, as at 0. Not by way of the
/// stack: the compiler copies bytes one by one.
///
/// # Safety
/// `name` is writable.
#[inline(always)]
pub unsafe fn device_name(name: NameOut, dev: u64) {
    let from = dev.wrapping_add(u64::from(at!(dev_name)));
    // SAFETY: the helper writes as many bytes, whatever it returns.
    unsafe { bpf_probe_read_kernel(name.cast(), DEV_NAME_BYTES as u32, from as *const _) };
}

/// Plain loads, through a pointer that the verifier knows as BTF-typed. A bad address reads as 0.
pub struct Direct;

/// `bpf_probe_read_kernel`: from any address.
pub struct Probed;

impl Memory for Probed {
    #[inline(always)]
    fn load<T: Copy>(base: u64, offset: u32) -> Option<T> {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        let from = base.wrapping_add(u64::from(offset));
        // SAFETY: the helper writes exactly the size of `value`, and faults become an error.
        let failed = unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                from as *const _,
            )
        };
        // SAFETY: written in full when the helper returned 0; only integers are read this way.
        (failed == 0).then(|| unsafe { value.assume_init() })
    }
}

impl Direct {
    /// The `T` at `offset` bytes from a BTF-typed pointer.
    ///
    /// # Safety
    /// `base` is an argument of a BTF-typed hook that points to a structure of this kernel.
    #[inline(always)]
    pub unsafe fn field<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: the verifier checks the offset against the type; the kernel handles the fault.
        unsafe { ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }
}

/// A range of kernel memory that holds packet bytes.
#[derive(Clone, Copy)]
pub struct Linear {
    /// Address of offset 0.
    pub base: u64,
    /// Bytes there.
    pub len: u32,
}

/// See [`Source::opaque`]: combined with what a map holds, which the verifier does not know.
#[inline(always)]
pub fn opaque(mut n: u64) -> u64 {
    let zero = ZERO.load();
    // SAFETY: one operation on a register. In assembly so that it is done here, and not where the
    // number is used.
    unsafe {
        core::arch::asm!("{n} ^= {zero}", n = inout(reg) n, zero = in(reg) zero);
    }
    n
}
static ZERO: Word = Word::zero();

/// 0, which the verifier knows and the compiler does not: of zeroes side by side it makes a call that clears
/// byte by byte, five instructions each.
#[inline(always)]
pub fn zero() -> u64 {
    let zero;
    // SAFETY: one operation on a register.
    unsafe { core::arch::asm!("{n} = 0", n = out(reg) zero, options(pure, nomem, nostack)) };
    zero
}

impl Source for Linear {
    #[inline(always)]
    fn opaque(&self, n: u64) -> u64 {
        opaque(n)
    }

    /// With one call of the helper.
    #[inline(always)]
    fn words<const N: usize>(&self, at: u32) -> Option<[u32; N]> {
        if opaque(u64::from(at) + 4 * N as u64) > opaque(self.len.into()) {
            return None;
        }
        Probed::load(self.base, at)
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        // Opaque: what the comparison tells of either is of no use, and tells paths apart.
        if opaque(u64::from(at) + N as u64) > opaque(self.len.into()) {
            return None;
        }
        Probed::load::<[u8; N]>(self.base, at)
    }
}

/// The packet of a program that was handed a `__sk_buff`, page fragments included.
#[derive(Clone, Copy)]
pub struct Packet {
    /// The context pointer.
    pub ctx: *mut core::ffi::c_void,
}

/// The packet of a socket's filter, which may not look at it but with a helper.
#[derive(Clone, Copy)]
pub struct SocketPacket {
    /// The context pointer.
    pub ctx: *mut core::ffi::c_void,
}

impl Source for SocketPacket {
    #[inline(always)]
    fn words<const N: usize>(&self, at: u32) -> Option<[u32; N]> {
        load_bytes(self.ctx, at)
    }

    #[inline(always)]
    fn opaque(&self, n: u64) -> u64 {
        opaque(n)
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        load_bytes(self.ctx, at)
    }
}

/// A `T` from the packet that `ctx` is of, page fragments included; of integers only.
#[inline(always)]
fn load_bytes<T>(ctx: *mut core::ffi::c_void, at: u32) -> Option<T> {
    let mut bytes = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes exactly as many bytes, or fails.
    let failed =
        unsafe { bpf_skb_load_bytes(ctx, at, bytes.as_mut_ptr().cast(), size_of::<T>() as u32) };
    // SAFETY: written in full when the helper returned 0.
    (failed == 0).then(|| unsafe { bytes.assume_init() })
}

/// The word at a place in the packet, wherever that is: in assembly, for the compiler makes four loads of
/// one that may not be aligned.
///
/// # Safety
/// Its bytes lie before `data_end`.
#[inline(always)]
unsafe fn packet_word(at: usize) -> u32 {
    let word: u64;
    // SAFETY: the verifier checks it.
    unsafe {
        core::arch::asm!(
            "{word} = *(u32 *)({at} + 0)",
            at = in(reg) at,
            word = out(reg) word,
            options(pure, readonly, nostack),
        );
    }
    word as u32
}

impl Source for Packet {
    /// Straight from the packet, where the verifier sees that the bytes are there.
    #[inline(always)]
    fn words<const N: usize>(&self, at: u32) -> Option<[u32; N]> {
        // SAFETY: `__sk_buff` fields of the program's own context, and bytes between them.
        unsafe {
            let skb = self.ctx.cast::<__sk_buff>();
            let start = (*skb).data as usize + at as usize;
            if start + 4 * N > (*skb).data_end as usize {
                return None;
            }
            Some(core::array::from_fn(|i| packet_word(start + 4 * i)))
        }
    }

    #[inline(always)]
    fn opaque(&self, n: u64) -> u64 {
        opaque(n)
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        load_bytes(self.ctx, at)
    }
}

/// A BTF-typed pointer in a structure that is reached by one.
///
/// # Safety
/// As [`Direct::field`]; the field is a pointer to a structure.
#[inline(always)]
pub unsafe fn pointer(base: *const u8, offset: u32) -> *const u8 {
    // SAFETY: the caller's.
    unsafe { Direct::field(base, offset) }
}

/// An `sk_buff` at any address, of which the fields that an event is made of are read at once: each helper
/// call takes some 65 instructions.
pub struct Skb {
    address: u64,
    /// Its [`SKB_BLOCK_BYTES`] from `skb_block` on.
    block: *const u8,
}

impl Skb {
    /// Reads it into `room`, which is its as long as fields are asked for; where nothing can be read all
    /// is zero.
    ///
    /// # Safety
    /// `room` has [`SKB_BLOCK_BYTES`] bytes and is aligned to 8.
    #[inline(always)]
    pub unsafe fn read(address: u64, room: *mut u8) -> Self {
        let from = address.wrapping_add(u64::from(at!(skb_block)));
        // SAFETY: the helper writes that many bytes, whatever it returns.
        unsafe {
            bpf_probe_read_kernel(room.cast(), SKB_BLOCK_BYTES as u32, from as *const _);
        }
        Self { address, block: room }
    }

    /// The `T` at `offset`, a constant of this kernel's: the verifier knows which way it is read.
    #[inline(always)]
    pub fn field<T: Copy>(&self, offset: u32) -> T {
        let start = at!(skb_block);
        if offset < start || offset + size_of::<T>() as u32 > start + SKB_BLOCK_BYTES as u32 {
            return Probed::or_zero(self.address, offset);
        }
        // SAFETY: within the block, as was just seen; fields are aligned in the structure, and so in
        // the block, which begins at a multiple of 8. Only integers are read this way.
        unsafe { ptr::read(self.block.add((offset - start) as usize).cast::<T>()) }
    }
}

/// Where an skb's packet bytes are, as far as they are linear.
#[derive(Clone, Copy)]
pub struct Geometry {
    /// `skb->head`.
    pub head: u64,
    /// Offset of the link-layer header from `head`; 0xffff when there is none.
    pub mac: u16,
    /// Offset of the network header from `head`.
    pub network: u16,
    /// Offset from `head` of the first byte past the linear part.
    pub tail: u32,
}

impl Geometry {
    /// From a BTF-typed pointer.
    ///
    /// # Safety
    /// As [`Direct::field`], with an `sk_buff`.
    #[inline(always)]
    pub unsafe fn direct(skb: *const u8) -> Self {
        // SAFETY: the caller's.
        unsafe {
            Self {
                head: Direct::field(skb, at!(skb_head)),
                mac: Direct::field(skb, at!(skb_mac_header)),
                network: Direct::field(skb, at!(skb_network_header)),
                tail: Direct::field(skb, at!(skb_tail)),
            }
        }
    }

    /// From an address.
    #[inline(always)]
    pub fn probed(skb: u64) -> Option<Self> {
        Some(Self {
            head: Probed::load(skb, at!(skb_head))?,
            mac: Probed::load(skb, at!(skb_mac_header))?,
            network: Probed::load(skb, at!(skb_network_header))?,
            tail: Probed::load(skb, at!(skb_tail))?,
        })
    }

    /// From what was read of it.
    #[inline(always)]
    pub fn of(skb: &Skb) -> Self {
        Self {
            head: skb.field(at!(skb_head)),
            mac: skb.field(at!(skb_mac_header)),
            network: skb.field(at!(skb_network_header)),
            tail: skb.field(at!(skb_tail)),
        }
    }

    /// The bytes from the network header on.
    #[inline(always)]
    pub fn network_bytes(&self) -> Linear {
        Linear {
            base: self.head.wrapping_add(u64::from(self.network)),
            len: self.tail.saturating_sub(u32::from(self.network)),
        }
    }

    /// Whether a link-layer header stands right before the network header: Ethernet with at most
    /// two tags. Elsewhere `mac` is left over from an earlier layer, or unset.
    #[inline(always)]
    pub fn link_header_len(&self) -> Option<u16> {
        let len = self.network.wrapping_sub(self.mac);
        (self.mac != u16::MAX && self.mac < self.network && (14..=22).contains(&len)).then_some(len)
    }
}

/// Whether an address can be a kernel object's: `skb->dev` shares its place with other uses.
#[inline(always)]
pub fn is_kernel_address(p: u64) -> bool {
    // With five-level paging x86 has kernel memory from 0xff00… on.
    p >> 56 == 0xff
}

/// Where `LAYOUT` is, once a program has stored it; 0 before.
static ANCHOR: Word = Word::zero();

/// The address in a pointer, as a number to compute with.
///
/// The verifier lets a privileged program do no arithmetic on a typed pointer but to subtract
/// another pointer from it, and lets it store a pointer in a map and read it back as a number. So:
/// the distance from `LAYOUT`, plus the address of `LAYOUT`.
#[inline(always)]
pub fn address(pointer: *const u8) -> u64 {
    let anchor = (&raw const LAYOUT) as u64;
    // Once: processors would take the line that it is on from one another with every packet.
    if ANCHOR.load() == 0 {
        ANCHOR.store(anchor);
    }
    let mut distance = pointer as u64;
    // SAFETY: one subtraction. In assembly so that no other arithmetic is made of it.
    unsafe {
        core::arch::asm!("{d} -= {a}", d = inout(reg) distance, a = in(reg) anchor);
    }
    distance.wrapping_add(ANCHOR.load())
}
