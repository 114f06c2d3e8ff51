//! What the fuzz targets hold true. The same functions run over the seeds in the workspace's own
//! tests (`tests/seeds.rs` of tracer-common and of tracer-user), on stable and in CI.

pub mod actions;
pub mod codec;
pub mod conntrack;
pub mod filter;
pub mod flow_key;
pub mod iproute;
pub mod iptables;
pub mod json_rpc;
pub mod links;
pub mod nft;
pub mod ofproto_trace;
pub mod packet;
pub mod recording;
