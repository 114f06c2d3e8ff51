//! Renderers: they only render.

pub mod change;
pub mod json;
pub mod text;
