#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| efl_fuzz::labels::run(data));
