//! Renderers: they only render.

pub mod change;
pub mod drops;
pub mod json;
pub mod ovs;
pub mod text;
