//! Finds or installs the compilers.
