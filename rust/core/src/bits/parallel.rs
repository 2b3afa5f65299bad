//! The process-wide thread pool, and how long work is interrupted.
//!
//! The only module that names rayon. One pool per process, built at first use and rebuilt after `fork` (a forked
//! child inherits the memory of the pool but none of its threads, and would wait for them for ever). Its size is
//! [`set_num_threads`], else `EFL_NUM_THREADS`, else `RAYON_NUM_THREADS`, else the number of cores.
//!
//! Invariant: results do not depend on the number of threads. [`map`] returns results in the order of their
//! index, so a caller that reduces them in order gets the same bits with one thread or many.
//! Cost: a few microseconds per call; do not use it for less than 50 us of work.

use crate::error::{Error, Result};
use rayon::prelude::*;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A flag that asks a long computation to stop; kernels look at it once per block.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// A flag that is not raised.
    pub const fn new() -> Self {
        Cancel(AtomicBool::new(false))
    }

    /// Asks the computation to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// `Err(Interrupted)` once the flag is raised.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

struct Pool {
    pid: u32,
    threads: usize,
    pool: rayon::ThreadPool,
    next: OnceLock<Box<Pool>>,
}

/// An append-only list, searched by process and size. Pools are never freed: a pool of a parent process has no
/// threads to join, and one of another size may be at somebody's work. Both are rare and small.
static POOLS: OnceLock<Box<Pool>> = OnceLock::new();
/// Explicit size, 0 when none was set.
static REQUESTED: AtomicUsize = AtomicUsize::new(0);

/// Most threads that a pool may have.
pub const MAX_THREADS: usize = 1024;

/// Sets the size of the pool for the whole process from the next call on.
pub fn set_num_threads(threads: usize) -> Result<()> {
    if threads == 0 || threads > MAX_THREADS {
        return Err(Error::invalid("threads", format!("1 to {MAX_THREADS}"), threads.to_string()));
    }
    REQUESTED.store(threads, Ordering::Relaxed);
    Ok(())
}

/// The number of threads that the next call will use.
pub fn num_threads() -> usize {
    let requested = REQUESTED.load(Ordering::Relaxed);
    if requested > 0 {
        return requested;
    }
    let from = |name: &str| {
        std::env::var(name).ok()?.trim().parse::<usize>().ok().filter(|&t| t > 0 && t <= MAX_THREADS)
    };
    from("EFL_NUM_THREADS")
        .or_else(|| from("RAYON_NUM_THREADS"))
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn pool() -> &'static rayon::ThreadPool {
    let (pid, threads) = (std::process::id(), num_threads());
    let mut slot = &POOLS;
    let mut made = None;
    loop {
        if let Some(found) = slot.get() {
            if found.pid == pid && found.threads == threads {
                return &found.pool;
            }
            slot = &found.next;
            continue;
        }
        // Built before the slot is taken, so that a fork never catches a slot half-way through its initialisation.
        let pool = made.take().unwrap_or_else(|| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|i| format!("efl-{i}"))
                .build()
                .unwrap_or_else(|e| panic!("the operating system refused to start {threads} threads: {e}"));
            Box::new(Pool { pid, threads, pool, next: OnceLock::new() })
        });
        if let Err(refused) = slot.set(pool) {
            made = Some(refused);
        }
    }
}

/// Runs `task(0) .. task(count - 1)` on the pool and returns their results in order. The first error by index
/// wins; tasks that have not started by the time of an interrupt, or of an error before them, are not run.
pub fn map<T: Send>(
    count: usize,
    cancel: &Cancel,
    task: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let failed = AtomicUsize::new(usize::MAX);
    let guarded = |i: usize| {
        if i > failed.load(Ordering::Relaxed) {
            return Err(Error::Interrupted); // never looked at: the error before it wins
        }
        let result = cancel.check().and_then(|()| task(i));
        if result.is_err() {
            failed.fetch_min(i, Ordering::Relaxed);
        }
        result
    };
    if count <= 1 || num_threads() == 1 {
        return (0..count).map(guarded).collect();
    }
    let results: Vec<Result<T>> = pool().install(|| (0..count).into_par_iter().map(guarded).collect());
    results.into_iter().collect()
}

/// Runs `work` on the pool while the calling thread calls `watch` every 20 ms; when `watch` returns an error,
/// the work is asked to stop and that error is returned once it has. This is how Ctrl-C reaches a kernel.
pub fn watched<T: Send, E: From<Error> + Send>(
    work: impl FnOnce(&Cancel) -> Result<T> + Send,
    mut watch: impl FnMut() -> std::result::Result<(), E> + Send,
) -> std::result::Result<T, E> {
    let cancel = Cancel::new();
    let (send, receive) = mpsc::channel();
    let mut stopped = None;
    let result = pool().in_place_scope(|scope| {
        let cancel = &cancel;
        scope.spawn(move |_| {
            let _ = send.send(work(cancel)); // the receiver outlives the scope
        });
        loop {
            match receive.recv_timeout(Duration::from_millis(20)) {
                Ok(result) => break result,
                // The work panicked: leaving the scope raises its panic here.
                Err(RecvTimeoutError::Disconnected) => break Err(Error::Interrupted),
                Err(RecvTimeoutError::Timeout) if stopped.is_some() => {}
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = watch() {
                        cancel.raise();
                        stopped = Some(error);
                    }
                }
            }
        }
    });
    stopped.map_or_else(|| result.map_err(E::from), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_wins() {
        let cancel = Cancel::new();
        assert_eq!(map(100, &cancel, |i| Ok(i * i)).unwrap(), (0..100).map(|i| i * i).collect::<Vec<_>>());
        let failed = map(100, &cancel, |i| {
            if i >= 40 { Err(Error::invalid("i", "less than 40", i.to_string())) } else { Ok(i) }
        });
        assert_eq!(failed, Err(Error::invalid("i", "less than 40", "40")));
    }

    #[test]
    fn work_after_an_error_is_not_begun() {
        let begun = AtomicUsize::new(0);
        let failed: Result<Vec<()>> = map(10_000, &Cancel::new(), |i| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(Error::invalid("i", "none", i.to_string()))
        });
        assert_eq!(failed, Err(Error::invalid("i", "none", "0")));
        assert!(begun.load(Ordering::Relaxed) < 1000);
    }

    #[test]
    fn a_raised_flag_stops_the_work() {
        let cancel = Cancel::new();
        cancel.raise();
        assert_eq!(map(3, &cancel, Ok), Err(Error::Interrupted));
        let calls = AtomicUsize::new(0);
        let result: Result<()> = watched(
            |cancel| {
                loop {
                    cancel.check()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            },
            || {
                calls.fetch_add(1, Ordering::Relaxed);
                Err(Error::invalid("watch", "nothing", "a signal"))
            },
        );
        assert_eq!(result, Err(Error::invalid("watch", "nothing", "a signal")));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
