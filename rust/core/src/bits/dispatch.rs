//! Run-time choice of the instruction set: the only `unsafe` of the crate.
//!
//! A kernel is safe, autovectorised Rust marked `#[inline(always)]`. [`dispatch`] holds one clone of it per
//! [`CpuLevel`], so the same source is compiled for each instruction set, and jumps to the best one that this CPU
//! has. Wheels are therefore built for the baseline and lose nothing (`benches/rust/estimate.rs`, group `cpu_level`;
//! a Xeon with both, one thread: AVX-512 counts 1.6 to 1.7 times as fast as AVX2). Dispatch costs about 1 ns: do it per block or batch.
//!
//! Invariant: all levels give the same bits. Rust never contracts or reorders float operations, so this holds for
//! kernels with floats as well; the tests run every kernel at every level.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CpuLevel {
    /// What the compilation target guarantees (SSE2 on x86-64, NEON on AArch64).
    Baseline = 1,
    /// x86-64-v3: AVX2, BMI1/2, LZCNT, POPCNT, FMA.
    Avx2 = 2,
    /// AVX2 and AVX-512 F, BW, DQ, VL, VPOPCNTDQ (Ice Lake, Zen 4 and newer): 512 bits, and popcounts of them.
    Avx512 = 3,
}

impl CpuLevel {
    /// Every level that this CPU can run, lowest first.
    pub fn available() -> Vec<CpuLevel> {
        [CpuLevel::Baseline, CpuLevel::Avx2, CpuLevel::Avx512]
            .into_iter()
            .filter(|&level| level <= detect())
            .collect()
    }

    /// The name that `EFL_CPU_LEVEL` takes.
    pub fn name(self) -> &'static str {
        match self {
            CpuLevel::Baseline => "baseline",
            CpuLevel::Avx2 => "avx2",
            CpuLevel::Avx512 => "avx512",
        }
    }
}

/// A piece of work that [`dispatch`] runs. Implement `run` with `#[inline(always)]`, and mark everything that it
/// calls in its loops the same way: code that is not inlined is compiled for the baseline only.
pub trait Kernel {
    /// What the work returns.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
    /// Does the same work where vectors have a popcount of their own: for kernels that would rather use it.
    #[inline(always)]
    fn run_with_popcounts(self) -> Self::Output
    where
        Self: Sized,
    {
        self.run()
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

fn detect() -> CpuLevel {
    #[cfg(target_arch = "x86_64")]
    {
        let has_v3 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("fma");
        let has_v4 = has_v3
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vpopcntdq");
        if has_v4 {
            return CpuLevel::Avx512;
        }
        if has_v3 {
            return CpuLevel::Avx2;
        }
    }
    CpuLevel::Baseline
}

/// The level in use: the best available, or the one that `EFL_CPU_LEVEL` names if it is lower.
pub fn cpu_level() -> CpuLevel {
    match LEVEL.load(Ordering::Relaxed) {
        1 => CpuLevel::Baseline,
        2 => CpuLevel::Avx2,
        3 => CpuLevel::Avx512,
        _ => {
            let asked = std::env::var("EFL_CPU_LEVEL").ok();
            let level = CpuLevel::available()
                .into_iter()
                .find(|level| asked.as_deref() == Some(level.name()))
                .unwrap_or_else(detect);
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

/// Sets the level for the whole process: for tests and benches. Results do not depend on it.
pub fn set_cpu_level(level: CpuLevel) -> Result<()> {
    if level > detect() {
        return Err(Error::invalid("level", "one that this CPU has", level.name()));
    }
    LEVEL.store(level as u8, Ordering::Relaxed);
    Ok(())
}

/// Runs the clone of `kernel` for the level in use.
#[inline]
#[allow(unsafe_code)]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,fma")]
        fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run()
        }
        #[target_feature(
            enable = "avx2,bmi1,bmi2,lzcnt,popcnt,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq"
        )]
        fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
            kernel.run_with_popcounts()
        }
        match cpu_level() {
            // SAFETY: `cpu_level` returns a level only if `detect` found every feature that its clone enables.
            CpuLevel::Avx512 => return unsafe { run_avx512(kernel) },
            // SAFETY: as above.
            CpuLevel::Avx2 => return unsafe { run_avx2(kernel) },
            CpuLevel::Baseline => {}
        }
    }
    kernel.run()
}
