//! The variance of an estimate: the one place where it is made.
//!
//! A value is a sum over shots, `sum_t x_t`, and the shots fall into *strata*: in each the shots are independent and alike,
//! and their number was fixed beforehand.
//!
//! | data | strata |
//! |---|---|
//! | settings drawn at random | one, with all shots |
//! | a list of settings, words read where they are revealed | one for each setting, at the numbers of shots that there are |
//! | experiments (settings, echoes, shifts, mixtures of them) | one for each experiment |
//! | experiments that were drawn from a longer list | one, in which a draw takes the place of a shot |
//!
//! The variance of a stratum of n shots is `n / (n - 1)` times the sum of squared deviations from their mean: its
//! expectation is the variance, whatever the state and however the words in `x_t` are correlated. What is known is
//! taken from knowledge and not from the sample: how often a drawn setting reveals a word (`known`).
//!
//! Rules for what few shots cannot say:
//!
//! - A stratum of one shot has no spread of its own. It counts the square of its deviation from what the other strata
//!   say of its words (zero for words that no other shot revealed): too long on average, never too short.
//! - T shots that all agree leave a fraction `1 - (T / (T + 2))^2` (see [`unsettled`]) of the variance on the maximally
//!   mixed state, and no variance is less than that. T counts shots by what their strata add to that variance: all of them
//!   where strata are alike, and those of a stratum that adds nearly all.
//! - Experiments that were drawn count one draw more, which deviates as a draw does on the maximally mixed state. It is
//!   all there is where a single one was drawn, or none that reads a derivative.
//!
//! Invariant: adding strata in a fixed order gives the same bits.

/// The fraction of the variance on the maximally mixed state that shots leave which all agree: about `4 / shots`. It is
/// that of a sign whose mean is shrunk by two imagined shots.
pub(super) fn unsettled(shots: f64) -> f64 {
    1.0 - (shots / (shots + 2.0)).powi(2)
}

/// The variance of one value, stratum by stratum.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strata {
    variance: f64,
    mixed: f64,
    /// Sum over strata of the square of what they add to `mixed`, over their shots.
    spread: f64,
}

impl Strata {
    /// Adds a stratum of `shots` from the sums of its shots' `x_t` and of their squares, and by how much the expectation of
    /// the sum of squares is known to exceed the sample. `mixed` is that sum on the maximally mixed state.
    pub(super) fn add(&mut self, shots: f64, first: f64, second: f64, known: f64, mixed: f64) {
        let sampled = (second - first * first / shots).max(0.0);
        // What is known can only overshoot when the sample is all there is, or by rounding.
        let deviations = if sampled + known > 1e-12 * second { sampled + known } else { sampled };
        self.variance += deviations * shots / (shots - 1.0);
        self.settle(mixed, shots);
    }

    /// Adds a stratum of one shot, which deviates by `deviation` from what is otherwise known.
    pub(super) fn add_lone(&mut self, deviation: f64, mixed: f64) {
        self.variance += deviation * deviation;
        self.settle(mixed, 1.0);
    }

    /// Adds experiments that were drawn, from the sums of what each draw contributes and of the squares; `shots` are those
    /// of the draws that read the value. Few draws differ little by chance, so one that is imagined is to be added by
    /// [`Strata::add_unseen`]: with it, and the divisor that counts it, the variance is right on average over states.
    pub(super) fn add_draws(&mut self, draws: f64, first: f64, second: f64, shots: f64, mixed: f64) {
        self.variance += (second - first * first / draws).max(0.0);
        self.settle(mixed, shots);
    }

    fn settle(&mut self, mixed: f64, shots: f64) {
        self.mixed += mixed;
        self.spread += mixed * mixed / shots;
    }

    /// Adds what no shot says anything of: something with mean zero and this variance.
    pub(super) fn add_unseen(&mut self, variance: f64) {
        self.variance += variance;
    }

    /// The variance of the value.
    pub(super) fn variance(&self) -> f64 {
        if self.spread == 0.0 {
            return self.variance;
        }
        self.variance.max(unsettled(self.mixed * self.mixed / self.spread) * self.mixed)
    }
}
