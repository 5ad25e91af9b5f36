#![no_main]
#![allow(dead_code, reason = "each target uses its own function of the shared file")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::template(data));
