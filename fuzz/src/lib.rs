//! What the fuzz targets hold true. The same functions run over the seeds in the workspace's own
//! tests (`tests/seeds.rs` of tracer-common and of tracer-user), on stable and in CI.

pub mod actions;
pub mod codec;
pub mod filter;
pub mod packet;
pub mod recording;
