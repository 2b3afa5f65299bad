//! The list that a number of shots can feed: no setting that is measured gets fewer than two shots, which its spread needs.
//!
//! A word that is read in `N h` shots leaves the uncertainty `s / (h + 1/N)` (over N): that of a sign about which nothing
//! was known before, so that a word is left out when reading it costs more than it may be worth. The shares of a list are
//! optimised for the sum of these, and the settings with the smallest shares go until each of the others gets two shots.
//!
//! Invariant: shares sum to one and each is at least `2 / N`; deterministic.
//! Cost: about a hundred passes over the words of all settings.

use crate::bits::parallel::Cancel;
use crate::error::Result;

/// Fewest shots of a setting.
pub(crate) const LEAST: f64 = 2.0;
/// Steps after settings have gone, and at the end.
const STEPS: usize = 30;
const LAST_STEPS: usize = 200;

/// Families that some shots can feed, by their place in `members`, with their shares. `scores` is what each word
/// contributes to the variance, times the probability that it is revealed.
pub(crate) fn fit(
    members: &[Vec<u32>],
    shares: &[f64],
    scores: &[f64],
    shots: u64,
    cancel: &Cancel,
) -> Result<Vec<(usize, f64)>> {
    let mut list = List { members, scores, prior: 1.0 / shots as f64, kept: Vec::new() };
    let total: f64 = shares.iter().sum();
    list.kept.extend(shares.iter().enumerate().filter(|(_, s)| **s > 0.0).map(|(f, s)| (f, s / total)));
    list.improve(STEPS, cancel)?;
    loop {
        let mut small: Vec<usize> =
            (0..list.kept.len()).filter(|&i| list.kept[i].1 * (shots as f64) < LEAST).collect();
        if small.is_empty() || list.kept.len() == 1 {
            break;
        }
        small.sort_by(|&a, &b| list.kept[a].1.total_cmp(&list.kept[b].1).then(a.cmp(&b)));
        small.truncate(small.len().div_ceil(3).min(list.kept.len() - 1));
        small.sort_unstable();
        let mut place = 0..;
        list.kept.retain(|_| place.next().is_none_or(|i| small.binary_search(&i).is_err()));
        list.improve(STEPS, cancel)?;
    }
    // The last steps may not starve a setting again: what falls below two shots is raised to them.
    list.improve(LAST_STEPS, cancel)?;
    list.raise(LEAST / shots as f64);
    Ok(list.kept)
}

/// The sum over words of what `shots` in an ensemble leave uncertain, times the shots, by the reveal probabilities.
pub(crate) fn uncertainty(scores: &[f64], reveal: impl Fn(usize) -> f64, shots: u64) -> f64 {
    let prior = 1.0 / shots as f64;
    let counted = scores.iter().enumerate().filter(|(_, s)| **s > 0.0);
    counted.map(|(c, s)| s / (reveal(c) + prior)).sum()
}

struct List<'a> {
    members: &'a [Vec<u32>],
    scores: &'a [f64],
    prior: f64,
    kept: Vec<(usize, f64)>,
}

impl List<'_> {
    /// Multiplicative steps towards the best shares, which then sum to one.
    fn improve(&mut self, steps: usize, cancel: &Cancel) -> Result<()> {
        let mut revealed = vec![0.0; self.scores.len()];
        for _ in 0..steps {
            cancel.check()?;
            revealed.fill(self.prior);
            for &(f, share) in &self.kept {
                self.members[f].iter().for_each(|&c| revealed[c as usize] += share);
            }
            let price = |&c: &u32| self.scores[c as usize] / (revealed[c as usize] * revealed[c as usize]);
            for (f, share) in &mut self.kept {
                *share *= self.members[*f].iter().map(price).sum::<f64>().sqrt();
            }
            self.normalise();
        }
        Ok(())
    }

    fn normalise(&mut self) {
        let total: f64 = self.kept.iter().map(|(_, share)| share).sum();
        if total > 0.0 {
            self.kept.iter_mut().for_each(|(_, share)| *share /= total);
        }
    }

    /// Shares of at least `least`, taken from the others in proportion.
    fn raise(&mut self, least: f64) {
        if self.kept.len() as f64 * least >= 1.0 {
            let even = 1.0 / self.kept.len() as f64;
            self.kept.iter_mut().for_each(|(_, share)| *share = even);
            return;
        }
        // Each round fixes at least one more share at the least, so it ends.
        let mut fixed = vec![false; self.kept.len()];
        loop {
            let free = 1.0 - least * fixed.iter().filter(|fixed| **fixed).count() as f64;
            let rest: f64 = self.kept.iter().zip(&fixed).filter(|(_, f)| !**f).map(|((_, s), _)| s).sum();
            let mut changed = false;
            for ((_, share), fixed) in self.kept.iter().zip(&mut fixed) {
                if !*fixed && share * free / rest < least {
                    (*fixed, changed) = (true, true);
                }
            }
            if !changed {
                for ((_, share), fixed) in self.kept.iter_mut().zip(&fixed) {
                    *share = if *fixed { least } else { *share * free / rest };
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_gets_two_shots_and_the_least_important_go() {
        let members: Vec<Vec<u32>> = (0..40).map(|f| vec![f, (f + 1) % 40]).collect();
        let scores: Vec<f64> = (0..40).map(|c| f64::from(40 - c).powi(2)).collect();
        let even = vec![1.0 / 40.0; 40];
        for shots in [2, 3, 10, 33, 1000] {
            let kept = fit(&members, &even, &scores, shots, &Cancel::new()).unwrap();
            let total: f64 = kept.iter().map(|(_, share)| share).sum();
            assert!((total - 1.0).abs() < 1e-12);
            assert!(kept.iter().all(|(_, share)| share * shots as f64 > LEAST - 1e-9), "{shots}");
            assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        let few: Vec<usize> =
            fit(&members, &even, &scores, 10, &Cancel::new()).unwrap().iter().map(|k| k.0).collect();
        assert!(few.iter().all(|f| *f < 20), "{few:?}");
        assert!(fit(&members, &even, &scores, 100_000, &Cancel::new()).unwrap().len() >= 20);
    }
}
