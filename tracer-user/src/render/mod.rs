//! Renderers: they only render.

pub mod change;
pub mod json;
pub mod ovs;
pub mod text;
