#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| efl_fuzz::sums::run(data));
