#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lasthop_fuzz::ofproto_trace::check(text));
