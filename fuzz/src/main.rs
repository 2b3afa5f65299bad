//! The targets as a plain loop over mutated inputs, where no nightly toolchain is at hand.
//!
//! `efl-fuzz TARGET SECONDS [SEED [NUMBER]]` tries inputs for that long, or the one input with that number. The number of
//! the input at work is kept in `fuzz/last-TARGET`, so that one that ends the process is found too.

use efl_fuzz::{TARGETS, Target, mutate::input};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// An input that takes longer is a failure.
const SLOW: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).map(|text| text.parse::<u64>().expect("a number"));
    let name = arguments.first().map_or("", String::as_str);
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("efl-fuzz TARGET SECONDS [SEED [NUMBER]], a target is one of {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    let seconds = number(1).unwrap_or(60);
    let seed = number(2).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64)
    });
    match number(3) {
        Some(number) => one(target, seed, number),
        None => many(target, seconds, seed),
    }
}

fn one(target: &Target, seed: u64, number: u64) -> ExitCode {
    let bytes = input(&(target.seeds)(), seed, number);
    println!("{bytes:02x?}");
    (target.run)(&bytes);
    println!("passed");
    ExitCode::SUCCESS
}

fn many(target: &Target, seconds: u64, seed: u64) -> ExitCode {
    let seeds = (target.seeds)();
    seeds.iter().for_each(|bytes| (target.run)(bytes));
    let last = format!("{}/last-{}", env!("CARGO_MANIFEST_DIR"), target.name);
    let record = File::create(&last).expect("a writable folder");
    println!("{}: seed {seed}, for {seconds} s; the input at work is in {last}", target.name);
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        // The file is there when the process is not.
        record.write_all_at(format!("{seed} {number:<20}\n").as_bytes(), 0).expect("a writable file");
        let bytes = input(&seeds, seed, number);
        let began = Instant::now();
        if std::panic::catch_unwind(|| (target.run)(&bytes)).is_err() || began.elapsed() > SLOW {
            let took = began.elapsed().as_secs_f64();
            eprintln!("{}: input {number} of seed {seed} failed or took long ({took:.1} s)", target.name);
            eprintln!("again: efl-fuzz {} 0 {seed} {number}", target.name);
            return ExitCode::FAILURE;
        }
        number += 1;
    }
    println!("{}: {number} executions, none failed", target.name);
    ExitCode::SUCCESS
}
