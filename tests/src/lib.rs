//! The reproduction harness: drives the finished binary, never imports it.
