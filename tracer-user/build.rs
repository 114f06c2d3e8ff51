//! Puts the kernel programs into the binary.
//!
//! `cargo xtask build` compiles them first and says in `LASTHOP_BPF_OBJECT` where they are. A build
//! without it (`cargo build`, `cargo test`, an editor) needs no BPF tooling and makes a binary that
//! explains recordings, but cannot trace.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(lasthop_bpf_object)");
    println!("cargo::rerun-if-env-changed=LASTHOP_BPF_OBJECT");
    let Some(object) = env::var_os("LASTHOP_BPF_OBJECT").map(PathBuf::from) else {
        return;
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return;
    };
    match fs::copy(&object, out.join("tracer-ebpf")) {
        Ok(_) => println!("cargo::rustc-cfg=lasthop_bpf_object"),
        Err(error) => {
            println!("cargo::error=LASTHOP_BPF_OBJECT is {}: {error}", object.display());
        }
    }
}
