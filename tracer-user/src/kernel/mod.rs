//! What the running kernel says about itself: types and numbers from its BTF, function names from
//! its symbol table.

pub mod btf;
pub mod conntrack;
pub mod hook_types;
pub mod layout;
pub mod ovs_layout;
pub mod reasons;
pub mod symbols;
