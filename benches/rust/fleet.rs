//! A fleet on one thread: brickwork on 10 qubits, one vector observable, 48 + 16 shots in 4 teach settings. Goals: a packet of
//! 1,000 queries (64,000 shots) is decoded, read and added up in 2.1 ms, which is 3e7 shots per second; 0.5 ms to make it.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use efl_benches::{brickwork, random, random_angles};
use efl_core::bits::dispatch::{CpuLevel, cpu_level, set_cpu_level};
use efl_core::bits::parallel::{Cancel, set_num_threads};
use efl_core::design::Options;
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::plan::{Method, Plan};
use efl_core::stabiliser::Setting;
use efl_fleet::machine::{Machine, Options as Bounds};
use efl_fleet::packet::{Bits, Packet, Span, encode};
use efl_fleet::pending::Ticket;
use efl_fleet::reader::{Answer, Entry, Reader, Slopes};
use efl_fleet::version::{Shape, Version};
use std::sync::Arc;

const N: usize = 10;
const QUERIES: u32 = 1000;

/// The reader of the list of Clifford settings that a plan finds, with weights that all queries have or none.
fn reader(constant: Option<Vec<f64>>) -> Reader {
    let circuit = brickwork(N, 3);
    let theta = random_angles(circuit.n_parameters(), 3.0);
    let letter = |q| PauliWord::from_sparse(N, [(q, Letter::Z)]).expect("a letter");
    let words: Vec<PauliWord> = (0..N).map(letter).collect();
    let observable =
        PauliSum::from_terms(N, words.iter().map(|w| (w, (N as f64).powf(-0.5)))).expect("a sum");
    let observables = [observable.clone()];
    let cancel = Cancel::new();
    let plan = Plan::new(&circuit, &observables, &theta, None, Options::default(), &cancel).expect("a plan");
    let (experiments, shares): (Vec<_>, Vec<f64>) =
        plan.experiments(Method::Clifford, &cancel).expect("a list").into_iter().unzip();
    let shape = Shape { n_qubits: N as u16, answer_shots: 48, teach_shots: 16, settings: 4 };
    let version = Version::new(7, 0, 3, shape, &shares, 1.0, b"").expect("a version");
    let entries: Vec<Entry> =
        experiments.iter().map(|e| Entry::from_experiment(e).expect("an entry")).collect();
    let setting = Setting::product(&"Z".repeat(N)).expect("letters");
    let answer = Answer { setting, shots: 48, values: vec![(0, observable)] };
    let slopes = Slopes::identity(circuit.n_parameters());
    Reader::new(version, 1, &entries, &[answer], &slopes, constant, None).expect("a reader")
}

fn fleet(c: &mut Criterion) {
    set_num_threads(1).expect("one thread");
    let (reader, mut draw) = (reader(None), random(9));
    let span = Span { replica: 5, incarnation: 1, first: 0, queries: QUERIES, dropped: 0 };
    let mut rows =
        |shots: usize| -> Vec<u64> { (0..QUERIES as usize * shots).map(|_| draw() & 0x3FF).collect() };
    let (answers, teaches) = (rows(48), rows(16));
    let make =
        || encode(reader.version(), &span, Bits::Rows(&answers), Bits::Rows(&teaches)).expect("a packet");
    let packet = make();
    let weights: Vec<f64> = (0..QUERIES).map(|i| (f64::from(i) * 0.37).sin()).collect();

    let mut group = c.benchmark_group("fleet");
    group.throughput(Throughput::Elements(64 * u64::from(QUERIES)));
    group.bench_function("encode", |b| b.iter(make));
    let best = cpu_level();
    for level in CpuLevel::available() {
        set_cpu_level(level).expect("available");
        group.bench_function(format!("read/{}", level.name()), |b| {
            b.iter(|| reader.tally(&Packet::decode(&packet).expect("a packet"), &weights, None))
        });
    }
    set_cpu_level(best).expect("available");
    let (n_parameters, pending) = (reader.n_parameters(), 2 * QUERIES as usize);
    let bounds = Bounds {
        fleet: 7,
        n_outputs: 1,
        n_parameters,
        keep: 1,
        pending,
        quota: pending,
        buckets: 1,
        replicas: 1,
    };
    let mut machine = Machine::new(bounds).expect("bounds");
    machine.publish(Arc::new(reader.clone())).expect("a version");
    machine.join(5).expect("room");
    let ticket = |sequence| Ticket { replica: 5, incarnation: 1, sequence };
    let tickets: Vec<Ticket> = (0..u64::from(QUERIES)).map(ticket).collect();
    group.bench_function("admit_and_weigh", |b| {
        b.iter_batched(
            || machine.clone(),
            |mut machine| {
                assert!(machine.submit(&packet).refused.is_none());
                machine.weights(&tickets, &weights, None).expect("a weight for each");
                machine
            },
            criterion::BatchSize::LargeInput,
        )
    });
    group.finish();
}

criterion_group!(benches, fleet);
criterion_main!(benches);
