//! Work on several threads, and how it is interrupted.
//!
//! Whoever calls [`map`] works on its tasks; helpers, threads that live as long as the call, take some of them over. So
//! a call never waits for another one: while others have all the helpers, it does its tasks alone, and takes
//! helpers as they become free. All calls together have `num_threads() - 1` helpers, which is [`set_num_threads`],
//! else `EFL_NUM_THREADS`, else `RAYON_NUM_THREADS`, else the number of cores. Where the operating system
//! refuses to start a thread there are fewer. Nothing outlives a call, so a forked child starts afresh.
//!
//! Invariant: results do not depend on the number of threads. [`map`] returns results in the order of their
//! index, so a caller that reduces them in order gets the same bits with one thread or many.
//! Cost: about 15 us per helper and call; do not use it for less than 100 us of work.

use crate::error::{Error, Result};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder};
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

/// Explicit number of threads, 0 when none was set.
static REQUESTED: AtomicUsize = AtomicUsize::new(0);

/// Most threads of a call.
pub const MAX_THREADS: usize = 1024;

/// Sets the number of threads for the whole process from the next call on.
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
    // Asked once: on Linux the answer is read from several files.
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = || *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from));
    from("EFL_NUM_THREADS").or_else(|| from("RAYON_NUM_THREADS")).unwrap_or_else(cores).min(MAX_THREADS)
}

/// The right to run one helper, given back when it is dropped.
struct Permit(u64);

/// Helpers at work in the lower half, the process that they belong to in the upper half.
static HELPERS: AtomicU64 = AtomicU64::new(0);

impl Permit {
    /// A permit, unless all of them are taken. A forked child begins with none taken: it has none of its parent's threads.
    fn take() -> Option<Permit> {
        let process = u64::from(std::process::id()) << 32;
        let most = num_threads() as u64 - 1;
        let more = |now: u64| {
            let helpers = if now & !0xFFFF_FFFF == process { now & 0xFFFF_FFFF } else { 0 };
            (helpers < most).then_some(process | (helpers + 1))
        };
        HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Permit(process))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let fewer = |now: u64| (now & !0xFFFF_FFFF == self.0).then(|| now - 1);
        // An error says that this is a child, whose count began anew.
        let _ = HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    }
}

/// Runs `task(0) .. task(count - 1)` on this thread and helpers, and returns their results in order. The first error by
/// index wins; tasks that have not started by the time of an interrupt, or of an error before them, are not run.
pub fn map<T: Send>(
    count: usize,
    cancel: &Cancel,
    task: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let done: Mutex<Vec<Option<Result<T>>>> = Mutex::new((0..count).map(|_| None).collect());
    share(count, &|i| {
        let result = cancel.check().and_then(|()| task(i));
        let good = result.is_ok();
        // Nothing panics while it is locked.
        done.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(result);
        good
    });
    // Tasks that were not run come after one that failed.
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

/// Runs tasks, each of which says whether it went well, in their order and not past one that did not. It is what of
/// [`map`] does not depend on the type of its results, so that programs hold it once.
fn share(count: usize, task: &(dyn Fn(usize) -> bool + Sync)) {
    if count <= 1 || num_threads() == 1 {
        (0..count).all(task);
        return;
    }
    // Tasks are taken in order, so those before one that failed have been taken as well.
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let left = || !failed.load(Ordering::Relaxed) && next.load(Ordering::Relaxed) < count;
    let step = || {
        let i = if left() { next.fetch_add(1, Ordering::Relaxed) } else { count };
        if i < count && !task(i) {
            failed.store(true, Ordering::Relaxed);
        }
        i < count
    };
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (mut helpers, mut refused) = (Vec::new(), false);
        loop {
            // Helpers that have begun have taken their first task, or will at once; the others will take one each.
            let waiting = |helpers: usize| helpers - begun.load(Ordering::Relaxed).min(helpers);
            while !refused && next.load(Ordering::Relaxed) + waiting(helpers.len()) + 1 < count && left() {
                let Some(permit) = Permit::take() else { break };
                let (begun, step) = (&begun, &step);
                let helper = move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    while step() {}
                    drop(permit);
                };
                match Builder::new().name("efl".into()).spawn_scoped(scope, helper) {
                    Ok(helper) => helpers.push(helper),
                    Err(_) => refused = true,
                }
            }
            if !step() {
                break;
            }
        }
        for helper in helpers {
            helper.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}

/// Runs `work` on a thread of its own while the calling thread calls `watch` every 20 ms; when `watch` returns an error,
/// the work is asked to stop and that error is returned once it has. This is how Ctrl-C reaches a kernel.
///
/// `watch` may fork. The child has no thread that does the work and cannot leave this call, so where it comes back from
/// `watch` it is ended, with a message.
pub fn watched<T: Send, E: From<Error> + Send>(
    work: impl FnOnce(&Cancel) -> Result<T> + Send,
    mut watch: impl FnMut() -> std::result::Result<(), E> + Send,
) -> std::result::Result<T, E> {
    let (mut work, mut result, mut stopped) = (Some(work), None, None);
    attend(&mut |cancel| result = work.take().map(|work| work(cancel)), &mut || match watch() {
        Ok(()) => true,
        Err(error) => {
            stopped = Some(error);
            false
        }
    })?;
    match (stopped, result) {
        (Some(error), _) => Err(error),
        (None, Some(result)) => result.map_err(E::from),
        (None, None) => unreachable!("work that was attended to is done"),
    }
}

/// What of [`watched`] does not depend on its types: `work` is called once, and `watch` says whether it is to go on.
fn attend(work: &mut (dyn FnMut(&Cancel) + Send), watch: &mut dyn FnMut() -> bool) -> Result<()> {
    let (cancel, process) = (Cancel::new(), std::process::id());
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        let cancel = &cancel;
        let work = move || {
            work(cancel);
            send.send(()).is_ok() // the receiver outlives the scope
        };
        let worker =
            Builder::new().name("efl".into()).spawn_scoped(scope, work).map_err(|_| Error::Limit {
                what: "threads".into(),
                needed: 1,
                limit: 0,
                remedy: "the operating system refuses to start one: end others, or raise the limit".into(),
            })?;
        let mut stopped = false;
        loop {
            match receive.recv_timeout(Duration::from_millis(20)) {
                Ok(()) => break Ok(()),
                Err(RecvTimeoutError::Disconnected) => match worker.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(_) => unreachable!("a worker says that it is done or panics"),
                },
                Err(RecvTimeoutError::Timeout) if stopped => {}
                Err(RecvTimeoutError::Timeout) => {
                    if !watch() {
                        cancel.raise();
                        stopped = true;
                    }
                    if std::process::id() != process {
                        end_of_a_child();
                    }
                }
            }
        }
    })
}

/// Ends a process that was forked in the middle of a call, where it would wait for ever.
fn end_of_a_child() -> ! {
    use std::io::Write;
    let text = "efl_core: this process was forked by a signal handler during a call of efl_core, and the handler \
                returned; it cannot go on with that call. Leave such a child with os._exit() or exec.";
    let _ = writeln!(std::io::stderr(), "{text}"); // there is no one left to tell
    std::process::abort()
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
    fn a_panic_of_a_task_reaches_the_caller() {
        let caught = std::panic::catch_unwind(|| {
            watched::<Vec<usize>, Error>(
                |cancel| map(9, cancel, |i| if i == 7 { panic!("task 7") } else { Ok(i) }),
                || Ok(()),
            )
        });
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"task 7"));
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
