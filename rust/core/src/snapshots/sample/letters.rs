//! Settings that are drawn letter by letter.
//!
//! A prefix tree over (letter, outcome) of one qubit after the other. A node holds the state conditioned on its
//! prefix, unnormalised and without the qubits already measured, and the list of the snapshots that share the
//! prefix; one pass over the vector gives the outcome probabilities of all three letters, the list is partitioned,
//! and each non-empty child gets a vector of half the length. Work that snapshots have in common is done once.
//!
//! Invariant: randomness is addressed. Letters and outcomes of snapshot `t` are functions of (seed, t) and the
//! state, so results do not depend on threads or batches, and a shorter run is a prefix of a longer one.
//! Cost: at depth d, min(6^d, T) vectors of 2^(n-d) amplitudes; memory 2 * 2^n amplitudes per thread and 56 bytes
//! per snapshot of a batch of 2^20, never T * 2^n.
//!
//! Precision: one 53-bit number serves the outcomes of 16 qubits (and one the letters of 8), refined after each
//! decision as in arithmetic coding; the last decision still has 37 random bits.

use super::put_outcomes;
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::{philox, unit_interval};
use crate::bits::{limbs, tail_mask, zeros};
use crate::error::Result;
use crate::state::StateVector;
use num_complex::Complex64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stream of the key, so that sampling shares no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"sampling");
/// Snapshots whose lists are in memory at one time.
const BATCH: usize = 1 << 20;
/// Snapshots that one task draws letters for; a multiple of 64.
const CHUNK: usize = 1 << 14;
/// Qubits served by one block of random bits.
const GROUP: usize = 16;
/// Classes of a node: letter (X, Y, Z) times outcome.
const CLASSES: usize = 6;
/// The letters take 2 * MAX_STATE_QUBITS bits of a limb; a class fits above them.
const CLASS_SHIFT: u32 = 61;
/// Lists of up to `FEW` snapshots at vectors of at most `LEAF` amplitudes are followed one by one.
const FEW: usize = 8;
const LEAF: usize = 8;
const LARGEST_BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

/// The planes of `shots` snapshots; `probabilities` of X, Y and Z for each qubit.
pub(super) fn planes(
    state: &StateVector<'_>,
    probabilities: &[[f64; 3]],
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    let n = state.n_qubits();
    let letters = probabilities.iter().map(|&p| LetterDraw::new(p)).collect();
    let tree = Tree { n, seed, letters, state: state.amplitudes(), cancel };
    let stride = limbs(shots);
    let mut planes = zeros("the snapshots", 3 * n, stride)?;
    for first in (0..shots).step_by(BATCH) {
        let count = BATCH.min(shots - first);
        let outcomes = tree.run(first, count, stride, &mut planes)?;
        put_outcomes(&outcomes, n, first / 64, |q| (3 * q + 2) * stride, &mut planes);
    }
    Ok(planes)
}

/// Cumulative letter probabilities of a qubit, and what refines the random number after the choice.
struct LetterDraw {
    lower: [f64; 3],
    thresholds: [f64; 2],
    scale: [f64; 3],
}

impl LetterDraw {
    fn new(p: [f64; 3]) -> Self {
        // An infinite threshold keeps rounding from ever choosing a letter of probability zero.
        let first = if p[1] == 0.0 && p[2] == 0.0 { f64::INFINITY } else { p[0] };
        let second = if p[2] == 0.0 { f64::INFINITY } else { p[0] + p[1] };
        LetterDraw {
            lower: [0.0, p[0], p[0] + p[1]],
            thresholds: [first, second],
            scale: p.map(|p| if p > 0.0 { 1.0 / p } else { 0.0 }),
        }
    }

    /// The letter of one snapshot; refines its random number as [`LetterDraw::draw`] does.
    fn one(&self, u: &mut f64) -> u32 {
        let letter = usize::from(*u >= self.thresholds[0]) + usize::from(*u >= self.thresholds[1]);
        let refined = (*u - self.lower[letter]) * self.scale[letter];
        *u = if refined < LARGEST_BELOW_ONE { refined } else { LARGEST_BELOW_ONE };
        letter as u32
    }

    /// The letters of 64 snapshots: their codes into `letters` at bit `2 * q`, and the x and z plane limbs.
    #[inline(always)]
    fn draw(&self, q: usize, u: &mut [f64; 64], letters: &mut [u64; 64]) -> [u64; 2] {
        let ([x, y], [l0, l1, l2], [s0, s1, s2]) = (self.thresholds, self.lower, self.scale);
        let (mut past_x, mut past_y) = ([0u64; 64], [0u64; 64]);
        // Comparisons and selections only, lane by lane, so that the loop becomes vector instructions.
        for row in 0..64 {
            let v = u[row];
            past_x[row] = u64::from(v >= x);
            past_y[row] = u64::from(v >= y);
            let lower = if v >= y {
                l2
            } else if v >= x {
                l1
            } else {
                l0
            };
            let scale = if v >= y {
                s2
            } else if v >= x {
                s1
            } else {
                s0
            };
            let refined = (v - lower) * scale; // never negative: `lower` is the threshold that `v` has passed
            u[row] = if refined < LARGEST_BELOW_ONE { refined } else { LARGEST_BELOW_ONE };
        }
        let (mut not_x, mut is_z) = (0, 0);
        for row in 0..64 {
            letters[row] |= (past_x[row] + past_y[row]) << (2 * q);
            not_x |= past_x[row] << row;
            is_z |= past_y[row] << row;
        }
        [!is_z, not_x]
    }
}

/// Draws the letters of single snapshots, as the sampler does.
pub(super) struct Drawer(Vec<LetterDraw>);

impl Drawer {
    pub(super) fn new(probabilities: &[[f64; 3]]) -> Self {
        Drawer(probabilities.iter().map(|&p| LetterDraw::new(p)).collect())
    }

    /// Appends 0, 1 or 2 for X, Y or Z on each qubit.
    pub(super) fn draw(&self, seed: u64, t: u64, settings: &mut Vec<u32>) {
        for (group, letters) in self.0.chunks(GROUP).enumerate() {
            let random = philox([seed, STREAM], [t, group as u64, 0, 0]);
            let mut u = [unit_interval(random[0]), unit_interval(random[1])];
            for (i, letter) in letters.iter().enumerate() {
                settings.push(letter.one(&mut u[i / (GROUP / 2)]));
            }
        }
    }
}

/// A snapshot on its way down the tree.
#[derive(Clone, Copy, Default)]
struct Shot {
    /// Two bits per qubit: 0, 1, 2 for X, Y, Z.
    letters: u64,
    /// The part of the random number of the outcomes that no decision has used.
    u: f64,
    /// Index in the batch.
    t: u32,
}

impl Shot {
    #[inline(always)]
    fn letter(&self, q: usize) -> usize {
        (self.letters >> (2 * q) & 3) as usize
    }

    /// Decides an outcome that is 0 with probability `zero / total`, and refines the random number.
    #[inline(always)]
    fn decide(&mut self, zero: f64, total: f64) -> usize {
        let scaled = self.u * total;
        let one = scaled >= zero;
        // Selected by masks, not by a branch: the outcome is a coin toss, which no branch predictor learns.
        let mask = u64::from(one).wrapping_neg();
        let lower = f64::from_bits(zero.to_bits() & mask);
        let width = f64::from_bits(((total - zero).to_bits() & mask) | (zero.to_bits() & !mask));
        // Never negative; 0 / 0, at a decision of probability zero, becomes the largest number below one.
        self.u = ((scaled - lower) / width).min(LARGEST_BELOW_ONE);
        usize::from(one)
    }
}

/// Measuring the first qubit of a vector: the weight of outcome 0 for the letters X, Y, Z, and the total weight.
#[derive(Clone, Copy, Default)]
struct Weights {
    zero: [f64; 3],
    total: f64,
}

/// The weights of the first qubit of `vector`, from one pass.
#[inline(always)]
fn weigh(vector: &[Complex64]) -> Weights {
    let (a, b) = vector.split_at(vector.len() / 2);
    let (mut na, mut nb, mut re, mut im) = (0.0, 0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        na += a.re * a.re + a.im * a.im;
        nb += b.re * b.re + b.im * b.im;
        re += a.re * b.re + a.im * b.im;
        im += a.re * b.im - a.im * b.re;
    }
    let total = na + nb;
    Weights { zero: [0.5 * total + re, 0.5 * total + im, na], total }
}

/// The vector conditioned on `outcome` of the first qubit measured in `letter`, unnormalised: the halves themselves
/// for Z (borrowed), their combination in `target` for X and Y.
#[inline(always)]
fn condition<'v>(
    vector: &'v [Complex64],
    letter: usize,
    outcome: usize,
    target: &'v mut [Complex64],
) -> &'v [Complex64] {
    let (a, b) = vector.split_at(vector.len() / 2);
    let sign = if outcome == 0 { 1.0 } else { -1.0 };
    match letter {
        0 => {
            for ((t, a), b) in target.iter_mut().zip(a).zip(b) {
                *t = Complex64::new(a.re + sign * b.re, a.im + sign * b.im);
            }
            &target[..a.len()]
        }
        1 => {
            // <+i| = (<0| - i <1|) / sqrt 2
            for ((t, a), b) in target.iter_mut().zip(a).zip(b) {
                *t = Complex64::new(a.re + sign * b.im, a.im - sign * b.re);
            }
            &target[..a.len()]
        }
        _ => [a, b][outcome],
    }
}

/// What [`condition`] does, as numbers: `keep * a + (real + i imaginary) * b` for a letter and an outcome.
const MIX: [[[f64; 3]; 2]; 3] = [
    [[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]],
    [[1.0, 0.0, -1.0], [1.0, 0.0, 1.0]],
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
];

struct Tree<'a> {
    n: usize,
    seed: u64,
    letters: Vec<LetterDraw>,
    state: &'a [Complex64],
    cancel: &'a Cancel,
}

/// The snapshots of one chunk, sorted by class of the first two qubits (`6 * class_0 + class_1`).
struct Drawn {
    shots: Vec<Shot>,
    starts: [u32; CLASSES * CLASSES + 1],
    /// x and z planes of the chunk's letters, `(2 * q + k) * width + group`, of `width` limbs each.
    letter_planes: Vec<u64>,
}

impl Tree<'_> {
    /// Outcome rows of snapshots `first .. first + count`; letters go straight into `planes`.
    fn run(&self, first: usize, count: usize, stride: usize, planes: &mut [u64]) -> Result<Vec<AtomicU64>> {
        let n = self.n;
        let mut half = vec![Complex64::default(); self.state.len() / 2];
        let root = weigh(self.state);
        let mut second = [Weights::default(); CLASSES];
        if n > 1 {
            for class in 0..CLASSES {
                second[class] = weigh(condition(self.state, class / 2, class % 2, &mut half));
            }
        }
        drop(half);
        let chunks = parallel::map(count.div_ceil(CHUNK), self.cancel, |chunk| {
            let start = chunk * CHUNK;
            let count = CHUNK.min(count - start);
            Ok(dispatch(Draw { tree: self, first, start, count, root: &root, second: &second }))
        })?;
        for (chunk, drawn) in chunks.iter().enumerate() {
            let width = drawn.letter_planes.len() / (2 * n);
            for (p, strip) in drawn.letter_planes.chunks_exact(width).enumerate() {
                let at = (3 * (p / 2) + p % 2) * stride + (first + chunk * CHUNK) / 64;
                planes[at..at + width].copy_from_slice(strip);
            }
        }
        let outcomes: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
        parallel::map(CLASSES * CLASSES, self.cancel, |class| {
            let part = |drawn: &'_ Drawn| drawn.starts[class] as usize..drawn.starts[class + 1] as usize;
            let total = chunks.iter().map(|d| part(d).len()).sum();
            if total == 0 {
                return Ok(());
            }
            let mut shots = Vec::with_capacity(total);
            chunks.iter().for_each(|d| shots.extend_from_slice(&d.shots[part(d)]));
            let (class_0, class_1) = (class / CLASSES, class % CLASSES);
            if n == 1 {
                for shot in &shots {
                    outcomes[shot.t as usize].store((class_0 % 2) as u64, Ordering::Relaxed);
                }
                return Ok(());
            }
            let path = (class_0 % 2 + 2 * (class_1 % 2)) as u64;
            let mut half = vec![Complex64::default(); self.state.len() / 2];
            let mut quarter = vec![Complex64::default(); self.state.len() / 4];
            let vector = condition(self.state, class_0 / 2, class_0 % 2, &mut half);
            let vector = condition(vector, class_1 / 2, class_1 % 2, &mut quarter);
            let mut spare = vec![Shot::default(); total];
            let mut scratch = vec![Complex64::default(); vector.len()];
            self.descend(Node {
                first,
                outcomes: &outcomes,
                vector,
                q: 2,
                path,
                shots: &mut shots,
                spare: &mut spare,
                scratch: &mut scratch,
            })
        })?;
        Ok(outcomes)
    }

    #[inline(always)]
    fn random(&self, t: usize, q: usize) -> [u64; 4] {
        philox([self.seed, STREAM], [t as u64, (q / GROUP) as u64, 0, 0])
    }

    /// Letters of `count` snapshots, and their outcomes on the first two qubits.
    #[inline(always)]
    fn draw(
        &self,
        first: usize,
        start: usize,
        count: usize,
        root: &Weights,
        second: &[Weights; CLASSES],
    ) -> Drawn {
        let n = self.n;
        let width = limbs(count);
        let mut letter_planes = vec![0; 2 * n * width];
        let mut unsorted = Vec::with_capacity(count);
        let mut classes = Vec::with_capacity(count);
        let mut starts = [0u32; CLASSES * CLASSES + 1];
        for group in 0..width {
            let height = 64.min(count - group * 64);
            let at = start + group * 64;
            let mut letters = [0u64; 64];
            let mut outcome_bits = [0.0; 64];
            for base in (0..n).step_by(GROUP) {
                let mut u = [[0.0; 64]; 2];
                for row in 0..64 {
                    let random = self.random(first + at + row, base);
                    u[0][row] = unit_interval(random[0]);
                    u[1][row] = unit_interval(random[1]);
                    if base == 0 {
                        outcome_bits[row] = unit_interval(random[2]);
                    }
                }
                for q in base..n.min(base + GROUP) {
                    let u = &mut u[(q - base) / (GROUP / 2)];
                    for (k, plane) in self.letters[q].draw(q, u, &mut letters).into_iter().enumerate() {
                        letter_planes[(2 * q + k) * width + group] = plane & tail_mask(count, group);
                    }
                }
            }
            for row in 0..height {
                let mut shot = Shot { letters: letters[row], u: outcome_bits[row], t: (at + row) as u32 };
                let letter = shot.letter(0);
                let class_0 = 2 * letter + shot.decide(root.zero[letter], root.total);
                let class_1 = if n > 1 {
                    let letter = shot.letter(1);
                    2 * letter + shot.decide(second[class_0].zero[letter], second[class_0].total)
                } else {
                    0
                };
                let class = CLASSES * class_0 + class_1;
                starts[class + 1] += 1;
                classes.push(class as u8);
                unsorted.push(shot);
            }
        }
        for class in 0..CLASSES * CLASSES {
            starts[class + 1] += starts[class];
        }
        let mut next = starts;
        let mut shots = vec![Shot::default(); count];
        for (shot, class) in unsorted.iter().zip(classes) {
            let slot = &mut next[usize::from(class)];
            shots[*slot as usize] = *shot;
            *slot += 1;
        }
        Drawn { shots, starts, letter_planes }
    }

    /// Measures qubits `q ..` of every snapshot of `shots`; `path` holds the outcomes so far.
    fn descend(&self, node: Node<'_>) -> Result<()> {
        let Node { first, outcomes, vector, q, path, shots, spare, scratch } = node;
        if q == self.n {
            for shot in shots.iter() {
                outcomes[shot.t as usize].store(path, Ordering::Relaxed);
            }
            return Ok(());
        }
        if q.is_multiple_of(GROUP) {
            for shot in shots.iter_mut() {
                shot.u = unit_interval(self.random(first + shot.t as usize, q)[2]);
            }
        }
        match (vector.len(), shots.len()) {
            (8, ..=FEW) => return self.finish_all::<8>(first, outcomes, vector, q, path, shots),
            (4, ..=FEW) => return self.finish_all::<4>(first, outcomes, vector, q, path, shots),
            (2, _) => return self.finish_all::<2>(first, outcomes, vector, q, path, shots),
            (_, 1) => {
                let outcome = self.follow(first, vector, q, path, shots[0], scratch);
                outcomes[shots[0].t as usize].store(outcome, Ordering::Relaxed);
                return Ok(());
            }
            _ => {}
        }
        if vector.len() > 1 << 10 {
            self.cancel.check()?;
        }
        let weights = weigh(vector);
        let mut sizes = [0usize; CLASSES];
        for shot in shots.iter_mut() {
            let letter = shot.letter(q);
            let class = 2 * letter + shot.decide(weights.zero[letter], weights.total);
            shot.letters |= (class as u64) << CLASS_SHIFT; // read again by the second loop
            sizes[class] += 1;
        }
        let mut next = [0usize; CLASSES];
        for class in 1..CLASSES {
            next[class] = next[class - 1] + sizes[class - 1];
        }
        let starts = next;
        for shot in shots.iter() {
            let class = (shot.letters >> CLASS_SHIFT) as usize;
            spare[next[class]] = Shot { letters: shot.letters & !(7 << CLASS_SHIFT), ..*shot };
            next[class] += 1;
        }
        let (target, deeper) = scratch.split_at_mut(vector.len() / 2);
        for class in 0..CLASSES {
            let part = starts[class]..next[class];
            if part.is_empty() {
                continue;
            }
            self.descend(Node {
                first,
                outcomes,
                vector: condition(vector, class / 2, class % 2, target),
                q: q + 1,
                path: path | ((class % 2) as u64) << q,
                shots: &mut spare[part.clone()],
                spare: &mut shots[part],
                scratch: deeper,
            })?;
        }
        Ok(())
    }

    /// The same for a single snapshot, without lists: all its outcomes.
    #[inline(always)]
    fn follow(
        &self,
        first: usize,
        vector: &[Complex64],
        q: usize,
        mut path: u64,
        mut shot: Shot,
        scratch: &mut [Complex64],
    ) -> u64 {
        let mut vector = vector;
        let mut scratch = scratch;
        for q in q..self.n {
            if q.is_multiple_of(GROUP) {
                shot.u = unit_interval(self.random(first + shot.t as usize, q)[2]);
            }
            match vector.len() {
                8 => return self.finish::<8>(first, vector, &weigh(vector), q, path, shot),
                4 => return self.finish::<4>(first, vector, &weigh(vector), q, path, shot),
                2 => return self.finish::<2>(first, vector, &weigh(vector), q, path, shot),
                _ => {}
            }
            let (letter, weights) = (shot.letter(q), weigh(vector));
            let outcome = shot.decide(weights.zero[letter], weights.total);
            path |= (outcome as u64) << q;
            let (target, deeper) = scratch.split_at_mut(vector.len() / 2);
            vector = condition(vector, letter, outcome, target);
            scratch = deeper;
        }
        path
    }

    /// The last qubits of every snapshot of a node with `LENGTH` amplitudes, one by one: the first weights are common.
    fn finish_all<const LENGTH: usize>(
        &self,
        first: usize,
        outcomes: &[AtomicU64],
        vector: &[Complex64],
        q: usize,
        path: u64,
        shots: &[Shot],
    ) -> Result<()> {
        let weights = weigh(vector);
        for shot in shots {
            let outcome = self.finish::<LENGTH>(first, vector, &weights, q, path, *shot);
            outcomes[shot.t as usize].store(outcome, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The last qubits of a single snapshot, without a branch on its letters or outcomes.
    #[inline(always)]
    fn finish<const LENGTH: usize>(
        &self,
        first: usize,
        vector: &[Complex64],
        weights: &Weights,
        q: usize,
        mut path: u64,
        mut shot: Shot,
    ) -> u64 {
        let mut local = [Complex64::default(); LEAF / 2];
        let (mut q, mut length, mut weights) = (q, LENGTH, *weights);
        loop {
            let letter = shot.letter(q);
            let outcome = shot.decide(weights.zero[letter], weights.total);
            path |= (outcome as u64) << q;
            length /= 2;
            if length == 1 {
                return path;
            }
            let [keep, real, imaginary] = MIX[letter][outcome];
            for i in 0..length {
                let (a, b) = if 2 * length == LENGTH {
                    (vector[i], vector[length + i])
                } else {
                    (local[i], local[length + i])
                };
                local[i] = Complex64::new(
                    keep * a.re + real * b.re - imaginary * b.im,
                    keep * a.im + real * b.im + imaginary * b.re,
                );
            }
            weights = weigh(&local[..length]);
            q += 1;
            if q.is_multiple_of(GROUP) {
                shot.u = unit_interval(self.random(first + shot.t as usize, q)[2]);
            }
        }
    }
}

/// A node of the tree. `scratch` is as long as `vector`: room for one child at every depth below.
struct Node<'v> {
    first: usize,
    outcomes: &'v [AtomicU64],
    vector: &'v [Complex64],
    q: usize,
    path: u64,
    shots: &'v mut [Shot],
    spare: &'v mut [Shot],
    scratch: &'v mut [Complex64],
}

struct Draw<'a> {
    tree: &'a Tree<'a>,
    first: usize,
    start: usize,
    count: usize,
    root: &'a Weights,
    second: &'a [Weights; CLASSES],
}

impl Kernel for Draw<'_> {
    type Output = Drawn;

    #[inline(always)]
    fn run(self) -> Drawn {
        self.tree.draw(self.first, self.start, self.count, self.root, self.second)
    }
}
