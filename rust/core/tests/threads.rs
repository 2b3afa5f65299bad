//! How calls share helpers. One test, because helpers and their number belong to the process.

use efl_core::Error;
use efl_core::bits::parallel::{Cancel, map, set_num_threads, watched};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Whether `count` threads are here at the same time.
fn meet(arrived: &AtomicUsize, count: usize) -> bool {
    arrived.fetch_add(1, Ordering::SeqCst);
    let start = Instant::now();
    while arrived.load(Ordering::SeqCst) < count {
        if start.elapsed() > Duration::from_secs(20) {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// As many tasks as there are threads run side by side.
fn all_threads_work(threads: usize) {
    let arrived = AtomicUsize::new(0);
    let met = map(threads, &Cancel::new(), |_| Ok(meet(&arrived, threads)));
    assert_eq!(met.unwrap(), vec![true; threads]);
}

#[test]
fn calls_share_helpers_and_do_not_wait_for_each_other() {
    let cancel = Cancel::new();
    for threads in [1, 2, 4] {
        set_num_threads(threads).unwrap();
        all_threads_work(threads);

        // A long call holds every helper; a short one is done by whoever asks for it.
        let (release, held) = mpsc::channel::<()>();
        let (held, arrived) = (Mutex::new(held), AtomicUsize::new(0));
        let task = |i: usize| {
            arrived.fetch_add(1, Ordering::SeqCst);
            let _ = held.lock().map(|held| held.recv()); // until the sender is dropped
            Ok(i)
        };
        thread::scope(|scope| {
            let long = scope.spawn(|| watched::<_, Error>(|cancel| map(8, cancel, task), || Ok(())));
            while arrived.load(Ordering::SeqCst) < threads {
                thread::sleep(Duration::from_millis(1));
            }
            let here = thread::current().id();
            assert_eq!(map(50, &cancel, |_| Ok(thread::current().id())).unwrap(), [here; 50]);
            let short = watched::<_, Error>(|cancel| map(50, cancel, Ok), || Ok(()));
            assert_eq!(short.unwrap(), (0..50).collect::<Vec<_>>());
            assert!(!long.is_finished());
            drop(release);
            assert_eq!(long.join().unwrap().unwrap(), (0..8).collect::<Vec<_>>());
        });

        // Helpers are given back, also by maps within maps and by tasks that panic.
        let tens = map(6, &cancel, |i| map(10, &cancel, |j| Ok(10 * i + j))).unwrap();
        assert_eq!(tens.concat(), (0..60).collect::<Vec<_>>());
        let panic = thread::spawn(|| map(9, &Cancel::new(), |i| if i > 2 { panic!("task") } else { Ok(i) }));
        assert!(panic.join().is_err());
        all_threads_work(threads);
    }
}
