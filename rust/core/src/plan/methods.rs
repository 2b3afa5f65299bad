//! The methods of a plan: for each the best shares that it can have, and what they cost.

use super::candidates::Candidates;
use super::{Method, Row};
use crate::bits::parallel::Cancel;
use crate::circuit::Operation;
use crate::circuit::Size;
use crate::design::allocate::{Direct, Problem, Shares, Way};
use crate::design::designed;
use crate::design::families::Grouping;
use crate::design::objective::{Goal, Objective};
use crate::design::search::{Found, MAX_WORDS, Search, lower_bound};
use crate::design::thin::runs;
use crate::ensemble::Block;
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::heisenberg::GradientObservables;
use crate::stabiliser::Connectivity;
use crate::stabiliser::Setting;

/// How much less effort a plan takes that follows another one; and when it is only for a few methods.
const FOLLOWING: u64 = 16;
const FOLLOWING_FEW: u64 = 8;
const FEW: usize = 3;

/// How a method measures.
#[derive(Debug, Clone)]
pub(crate) enum Solution {
    /// It does not apply.
    Absent(String),
    /// It takes this many circuits and settings, more than are wanted.
    Crowded(usize),
    /// At least this.
    Bound(Vec<f64>, String),
    /// Settings of blocks, drawn independently.
    Drawn(Ensemble),
    /// Settings of the final state, echoes and shifts, with shares.
    Shares(Found),
    /// The settings of the commuting generators, with their shares.
    Commuting(Vec<f64>),
    /// All shifted circuits equally.
    Equal,
}

impl Solution {
    pub(crate) fn is_known(&self) -> bool {
        !matches!(self, Solution::Absent(_) | Solution::Crowded(_) | Solution::Bound(..))
    }

    fn settings_only(&self) -> Option<&Found> {
        match self {
            Solution::Shares(found) if found.ways.is_empty() => Some(found),
            _ => None,
        }
    }
}

pub(crate) struct Solver<'a> {
    structure: &'a Candidates,
    observables: &'a GradientObservables,
    cancel: &'a Cancel,
    /// Weights of all rows (values first), those of the derivatives summing to one.
    weights: Vec<f64>,
    /// Derivatives that are not known to be zero, all rows counted.
    live: Vec<bool>,
    /// Rows that settings may measure, words being known.
    known: Vec<bool>,
    open: Vec<bool>,
    /// The effort of a search that starts from a former design.
    following: u64,
}

impl<'a> Solver<'a> {
    /// Of so many methods.
    pub(crate) fn new(
        structure: &'a Candidates,
        observables: &'a GradientObservables,
        n_methods: usize,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let first = structure.n_observables();
        let sums = observables.sums();
        let n_parameters = structure.circuit.n_parameters();
        let known: Vec<bool> = (0..sums.len())
            .map(|r| r < first || structure.gradients.is_known((r - first) % n_parameters))
            .collect();
        // What the coefficients say is zero costs nothing; what is not known counts if a gate can move it.
        let live: Vec<bool> = (0..sums.len())
            .map(|r| {
                let moves = |r: usize| !known[r] || sums.row(r).1.iter().any(|c| *c != 0.0);
                r >= first && structure.relevant[r - first] && moves(r)
            })
            .collect();
        let options = &structure.options;
        let weights = Objective::among(sums, first, &options.goal, options.value_weight, |r| live[r])?
            .weights()
            .to_vec();
        let open = structure.by_settings(observables);
        let following = options.effort / if n_methods <= FEW { FOLLOWING_FEW } else { FOLLOWING };
        Ok(Solver { structure, observables, cancel, weights, live, known, open, following })
    }

    /// The mean variance of the derivatives, by weight.
    pub(crate) fn mean(&self, variances: &[f64]) -> f64 {
        let first = self.structure.n_observables();
        let rows = (first..variances.len()).filter(|&r| self.weights[r] > 0.0);
        rows.map(|r| self.weights[r] * variances[r]).sum()
    }

    fn worst(&self, variances: &[f64]) -> f64 {
        let first = self.structure.n_observables();
        let rows = (first..variances.len()).filter(|&r| self.weights[r] > 0.0);
        rows.map(|r| variances[r]).fold(0.0, f64::max)
    }

    /// The variance of every row with a solution at the present angles: infinite where it does not measure a row.
    pub(crate) fn variances(&self, solution: &Solution) -> Option<Vec<f64>> {
        let sums = self.observables.sums();
        let first = self.structure.n_observables();
        let mut variances = match solution {
            Solution::Absent(_) | Solution::Crowded(_) => return None,
            Solution::Bound(variances, _) => variances.clone(),
            Solution::Drawn(ensemble) => ensemble.variances(sums),
            Solution::Shares(found) => {
                let direct = self.direct(found);
                let members = found.members();
                let objective = self.objective(self.open.clone());
                let problem = Problem { sums, objective: &objective, families: &members, direct: &direct };
                let mut variances = problem.variances(&found.shares);
                let missing = |r: &usize| self.live[*r] && found.shares.mix[*r] == [0.0; 3];
                (first..sums.len()).filter(missing).for_each(|r| variances[r] = f64::INFINITY);
                variances
            }
            Solution::Commuting(shares) => {
                let mut variances = vec![0.0; sums.len()];
                let found = self.structure.commuting.iter().flatten();
                for ((_, readings), share) in found.zip(shares) {
                    for (j, row) in readings.rows().iter().enumerate() {
                        let second: f64 = readings.sums().row(j).1.iter().map(|c| c * c).sum();
                        variances[first + row] += second / share;
                    }
                }
                variances
            }
            Solution::Equal => {
                let shifts = self.structure.wired.as_ref().ok()?;
                let mut variances = vec![0.0; sums.len()];
                for shift in shifts {
                    let readings = shift.readings();
                    for (j, row) in readings.rows().iter().enumerate() {
                        let second: f64 = readings.sums().row(j).1.iter().map(|c| c * c).sum();
                        variances[first + row] += 4.0 * second * shifts.len() as f64;
                    }
                }
                variances
            }
        };
        (first..variances.len()).filter(|&r| !self.live[r]).for_each(|r| variances[r] = 0.0);
        Some(variances)
    }

    fn objective(&self, by_settings: Vec<bool>) -> Objective {
        Objective::of(self.weights.clone(), by_settings)
    }

    /// The direct measurements whose shares a solution has.
    fn direct(&self, found: &Found) -> Vec<Direct> {
        found.ways.iter().flat_map(|way| self.structure.direct(*way)).collect()
    }

    pub(crate) fn solve(
        &self,
        method: Method,
        former: Option<&Solution>,
        others: &[Solution],
    ) -> Result<Solution> {
        self.unlimited(method, former, others).map(|solution| self.within(solution))
    }

    fn unlimited(&self, method: Method, former: Option<&Solution>, others: &[Solution]) -> Result<Solution> {
        let structure = self.structure;
        let options = &structure.options;
        let unknown = self.known.iter().zip(&self.weights).filter(|(k, w)| !**k && **w > 0.0).count();
        let partial = (unknown > 0).then(|| match structure.circuit.operations().iter().all(Operation::is_unitary) {
            true => format!("{unknown} derivatives have more than {} words and are not counted", options.max_terms),
            false => format!(
                "{unknown} derivatives are not counted: a channel follows their gates, or they have more than {} words",
                options.max_terms
            ),
        });
        let sums = self.observables.sums();
        let grouping = match options.connectivity {
            Connectivity::None => Grouping::QubitWise,
            _ => Grouping::Commuting,
        };
        let absent = |reason: &str| Ok(Solution::Absent(reason.to_owned()));
        match method {
            Method::Uniform => {
                let solution = Solution::Drawn(Ensemble::uniform(sums.n_qubits())?);
                let least = self.variances(&solution).map_or(0.0, |v| self.mean(&v));
                Ok(self.or_bound(solution, least, partial))
            }
            Method::Biased => self.drawn(&[(1, 0)], former.is_some(), partial),
            Method::Block => {
                if options.connectivity == Connectivity::None {
                    return absent("blocks need two-qubit gates, and connectivity is \"none\"");
                }
                if sums.n_qubits() < 2 {
                    return absent("a block needs two qubits");
                }
                let shapes = [(2, 0), (2, 1), (3, 0)];
                self.drawn(&shapes, former.is_some(), partial)
            }
            Method::Product | Method::Clifford => {
                let grouping = if method == Method::Product { Grouping::QubitWise } else { grouping };
                if method == Method::Clifford && grouping == Grouping::QubitWise {
                    return absent("Clifford settings need two-qubit gates, and connectivity is \"none\"");
                }
                let long = sums.words().len() > MAX_WORDS;
                if partial.is_some() || long {
                    let note = partial.unwrap_or_else(|| {
                        format!("{} words are too many for a list of settings", sums.words().len())
                    });
                    let least = lower_bound(sums.words(), &self.derivatives().scores(sums), grouping);
                    return Ok(Solution::Bound(vec![least; sums.len()], note));
                }
                // Product settings reveal commuting words too: they are a part of the start.
                let product = others.iter().rev().find_map(Solution::settings_only).map(Found::alone);
                let start = product.map(Solution::Shares);
                self.search(grouping, &[], former.or(start.as_ref()))
            }
            Method::Echo => match &structure.echoes {
                Err(reason) => absent(reason),
                Ok(_) => self.only(&[Way::Echo], former),
            },
            Method::ShiftPruned => match &structure.pruned {
                Err(reason) => absent(reason),
                Ok(_) => self.only(&[Way::Shift], former),
            },
            Method::Shift => match &structure.wired {
                Err(reason) => absent(reason),
                Ok(_) => Ok(Solution::Equal),
            },
            Method::Mixture => {
                let ways = self.ways();
                if ways.is_empty() && self.open.iter().zip(&self.weights).any(|(o, w)| !o && *w > 0.0) {
                    return absent("derivatives with too many words have neither echoes nor shifts");
                }
                // The families of the list of Clifford settings are a start when there is no former plan.
                let start = others.iter().rev().find_map(Solution::settings_only).map(Found::alone);
                let start = start.map(Solution::Shares);
                let found = self.search(grouping, &ways, former.or(start.as_ref()))?;
                Ok(self.or_a_part(found, &ways, others))
            }
            Method::Commuting => match &structure.commuting {
                Err(reason) => absent(reason),
                Ok(found) => {
                    let root = |readings: &crate::experiment::Readings| {
                        let first = structure.n_observables();
                        let rows = readings.rows().iter().enumerate();
                        let second = rows.map(|(j, row)| {
                            let squares: f64 = readings.sums().row(j).1.iter().map(|c| c * c).sum();
                            self.weights[first + row] * squares
                        });
                        second.sum::<f64>().sqrt()
                    };
                    let roots: Vec<f64> = found.iter().map(|(_, readings)| root(readings)).collect();
                    let total: f64 = roots.iter().sum();
                    let share = |r: &f64| if total > 0.0 { r / total } else { 1.0 / roots.len() as f64 };
                    Ok(Solution::Commuting(roots.iter().map(share).collect()))
                }
            },
        }
    }

    /// A design, or only that nothing of its kind costs less than `least` when words are not known.
    fn or_bound(&self, solution: Solution, least: f64, partial: Option<String>) -> Solution {
        match partial {
            None => solution,
            // Spread evenly: only the mean is bounded.
            Some(note) => Solution::Bound(vec![least; self.weights.len()], note),
        }
    }

    /// The rows whose words are known, those of the values left out.
    fn derivatives(&self) -> Objective {
        let mut open = self.known.clone();
        open.iter_mut().take(self.structure.n_observables()).for_each(|o| *o = false);
        self.objective(open)
    }

    /// The best letters, or settings of blocks; where derivatives are left out, what none does better than.
    fn drawn(&self, shapes: &[(usize, usize)], follows: bool, partial: Option<String>) -> Result<Solution> {
        let objective =
            if partial.is_some() { self.derivatives() } else { self.objective(self.known.clone()) };
        let options = &self.structure.options;
        let max = options.goal == Goal::Max && partial.is_none();
        let effort = if follows { self.following } else { options.effort };
        let (ensemble, least) =
            designed::drawn(self.observables.sums(), &objective, max, shapes, effort, self.cancel)?;
        Ok(self.or_bound(Solution::Drawn(ensemble), least, partial))
    }

    /// The ways of a mixture beside settings.
    fn ways(&self) -> Vec<Way> {
        let echo = self.structure.echoes.is_ok().then_some(Way::Echo);
        let shift = self.structure.pruned.is_ok().then_some(Way::Shift);
        echo.into_iter().chain(shift).collect()
    }

    /// A mixture that was found without knowing the others, or one of them if it is better.
    pub(crate) fn or_better(&self, mixture: Solution, others: &[Solution]) -> Solution {
        match mixture {
            Solution::Absent(_) => mixture,
            _ => self.within(self.or_a_part(mixture, &self.ways(), others)),
        }
    }

    /// A mixture, or the best of its parts if the search has not found a better one.
    fn or_a_part(&self, mixture: Solution, ways: &[Way], parts: &[Solution]) -> Solution {
        let goal = |solution: &Solution| {
            let variances = self.variances(solution)?;
            Some(if self.structure.options.goal == Goal::Max {
                self.worst(&variances)
            } else {
                self.mean(&variances)
            })
        };
        let mut least = goal(&mixture).unwrap_or(f64::INFINITY);
        let mut best = mixture;
        for part in parts {
            let Solution::Shares(found) = part else { continue };
            let missing =
                self.weights.iter().zip(&found.shares.mix).any(|(w, mix)| *w > 0.0 && *mix == [0.0; 3]);
            let Some(value) = goal(part).filter(|value| *value < least && !missing) else { continue };
            // The same shares, and none of the other ways.
            let mut given = found.shares.direct.iter();
            let mut direct = Vec::new();
            for way in ways {
                let count = self.structure.direct(*way).len();
                let has = found.ways.contains(way);
                direct
                    .extend((0..count).map(|_| if has { given.next().copied().unwrap_or(0.0) } else { 0.0 }));
            }
            let shares = Shares { direct, ..found.shares.clone() };
            (best, least) = (
                Solution::Shares(Found { shares, ways: ways.to_vec(), families: found.families.clone() }),
                value,
            );
        }
        best
    }

    /// Direct measurements only.
    fn only(&self, ways: &[Way], former: Option<&Solution>) -> Result<Solution> {
        let mut weights = self.weights.clone();
        weights.iter_mut().take(self.structure.n_observables()).for_each(|w| *w = 0.0);
        let objective = Objective::of(weights, vec![false; self.open.len()]);
        self.minimise(objective, Grouping::QubitWise, ways, former)
    }

    fn search(&self, grouping: Grouping, ways: &[Way], former: Option<&Solution>) -> Result<Solution> {
        self.minimise(self.objective(self.open.clone()), grouping, ways, former)
    }

    fn minimise(
        &self,
        objective: Objective,
        grouping: Grouping,
        ways: &[Way],
        former: Option<&Solution>,
    ) -> Result<Solution> {
        let options = &self.structure.options;
        let sums = self.observables.sums();
        let direct: Vec<Direct> = ways.iter().flat_map(|way| self.structure.direct(*way)).collect();
        let start = match former {
            Some(Solution::Shares(found)) => Some(found),
            _ => None,
        };
        let follows = start.is_some_and(|s| s.ways == ways && !s.shares.mix.is_empty());
        // A former design is close: the search only has to follow the angles.
        let effort = if follows { self.following } else { options.effort };
        let search = Search { sums, objective: &objective, direct: &direct, grouping, effort };
        let mut found = search.run(start, options.goal == Goal::Max, self.cancel)?;
        // A former design is thin already: what was added to it may stay, as long as it is not much.
        let grown = start.is_none_or(|s| !follows || 4 * found.families.len() > 5 * s.families.len());
        if grown && options.goal != Goal::Max {
            found = search.thin(found, self.cancel)?;
        }
        if let Some(most) = options.max_settings {
            match search.limit(found, most, self.cancel)? {
                Ok(fewer) => found = fewer,
                Err(runs) => return Ok(Solution::Crowded(runs)),
            }
        }
        found.ways = ways.to_vec();
        Ok(Solution::Shares(found))
    }

    /// The solution, unless it takes more circuits and settings than are wanted.
    fn within(&self, solution: Solution) -> Solution {
        let runs = match &solution {
            Solution::Drawn(_) => None,
            Solution::Shares(found) => Some(runs(found)),
            Solution::Commuting(shares) => Some(shares.len()),
            Solution::Equal => Some(2 * self.structure.wired.iter().flatten().count()),
            Solution::Absent(_) | Solution::Crowded(_) | Solution::Bound(..) => return solution,
        };
        match (self.structure.options.max_settings, runs) {
            (Some(_), None) => {
                Solution::Absent("it draws a setting for every shot, and their number is limited".to_owned())
            }
            (Some(most), Some(runs)) if runs > most => Solution::Crowded(runs),
            _ => solution,
        }
    }

    /// The row of the table.
    pub(crate) fn row(&self, method: Method, solution: &Solution) -> Result<Row> {
        let first = self.structure.n_observables();
        let mut row = Row {
            method,
            cost: f64::INFINITY,
            worst: f64::INFINITY,
            variances: Vec::new(),
            settings: Some(0),
            circuits: 0,
            extra: Size::default(),
            served: false,
            bound: false,
            note: None,
        };
        if let Some(variances) = self.variances(solution) {
            row.cost = self.mean(&variances);
            row.worst = self.worst(&variances);
            row.variances = variances[first..].to_vec();
        }
        let measured = |setting: &Setting| Size {
            gates: setting.gates().len(),
            two_qubit_gates: setting.two_qubit_gates(),
            depth: setting.depth(),
        };
        match solution {
            Solution::Absent(note) => row.note = Some(note.clone()),
            Solution::Crowded(runs) => {
                row.note = Some(format!("it takes {runs} circuits and settings, more than are wanted"));
            }
            Solution::Bound(_, note) => {
                (row.bound, row.served, row.circuits) = (true, true, 1);
                row.variances = Vec::new();
                row.settings = None;
                row.note = Some(note.clone());
            }
            Solution::Drawn(ensemble) => {
                (row.served, row.circuits, row.settings) = (true, 1, None);
                row.extra = ensemble
                    .block_list()
                    .iter()
                    .flat_map(Block::settings)
                    .map(measured)
                    .fold(Size { gates: 1, two_qubit_gates: 0, depth: 2 }, Size::largest);
            }
            Solution::Shares(found) => {
                row.served = found.is_served();
                row.settings = Some(found.families.len());
                row.circuits = usize::from(!found.families.is_empty());
                for family in &found.families {
                    let setting =
                        family.setting(self.observables.n_qubits(), self.structure.options.connectivity)?;
                    row.extra = row.extra.largest(measured(setting));
                }
                let mut shares = found.shares.direct.iter();
                for way in &found.ways {
                    let extra: Vec<Size> = match way {
                        Way::Echo => self.structure.echoes.iter().flatten().map(|e| e.extra()).collect(),
                        Way::Shift => self.structure.pruned.iter().flatten().map(|s| s.extra()).collect(),
                        Way::Settings => Vec::new(),
                    };
                    for (extra, _) in
                        extra.into_iter().zip(shares.by_ref()).filter(|(_, share)| **share > 0.0)
                    {
                        row.circuits += 2;
                        row.settings = row.settings.map(|s| s + 2);
                        row.extra = row.extra.largest(extra);
                    }
                }
            }
            Solution::Commuting(shares) => {
                (row.served, row.circuits, row.settings) = (true, 1, Some(shares.len()));
                let found = self.structure.commuting.iter().flatten();
                row.extra = found.map(|(setting, _)| measured(setting)).fold(Size::default(), Size::largest);
            }
            Solution::Equal => {
                let shifts = self.structure.wired.iter().flatten();
                row.extra = shifts.clone().map(|s| s.extra()).fold(Size::default(), Size::largest);
                row.circuits = 2 * shifts.count();
                row.settings = Some(row.circuits);
            }
        }
        Ok(row)
    }
}
