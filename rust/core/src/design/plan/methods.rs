//! The methods of a plan: for each the best shares that it can have, and what they cost.

use super::structure::Structure;
use super::{Method, Row};
use crate::bits::parallel::Cancel;
use crate::design::allocate::{Direct, Problem, Way};
use crate::design::block::Block;
use crate::design::diagonalise::Connectivity;
use crate::design::experiment::Cost;
use crate::design::families::Grouping;
use crate::design::objective::{Goal, Objective};
use crate::design::search::{Found, MAX_WORDS, Search, lower_bound};
use crate::design::setting::Setting;
use crate::design::{Ensemble, designed};
use crate::error::Result;
use crate::heisenberg::GradientObservables;

/// How much less effort a plan takes that follows another one.
const FOLLOWING: u64 = 16;

/// How a method measures.
#[derive(Debug, Clone)]
pub(crate) enum Solution {
    /// It does not apply.
    Absent(String),
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
        !matches!(self, Solution::Absent(_) | Solution::Bound(..))
    }

    fn settings_only(&self) -> Option<&Found> {
        match self {
            Solution::Shares(found) if found.ways.is_empty() => Some(found),
            _ => None,
        }
    }
}

pub(crate) struct Solver<'a> {
    structure: &'a Structure,
    observables: &'a GradientObservables,
    cancel: &'a Cancel,
    /// Weights of all rows (values first), those of the derivatives summing to one.
    weights: Vec<f64>,
    /// Rows that settings may measure, words being known.
    known: Vec<bool>,
    open: Vec<bool>,
}

impl<'a> Solver<'a> {
    pub(crate) fn new(
        structure: &'a Structure,
        observables: &'a GradientObservables,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let first = structure.n_observables();
        let sums = observables.sums();
        let n_parameters = structure.circuit.n_parameters();
        let known: Vec<bool> = (0..sums.len())
            .map(|r| r < first || structure.gradients.is_known((r - first) % n_parameters))
            .collect();
        // What the coefficients say is zero costs nothing; what is not known counts if a gate can move it.
        let live = |r: usize| {
            structure.relevant[r - first] && (!known[r] || sums.row(r).1.iter().any(|c| *c != 0.0))
        };
        let options = &structure.options;
        let weights =
            Objective::among(sums, first, &options.goal, options.value_weight, live)?.weights().to_vec();
        let open = structure.by_settings(observables);
        Ok(Solver { structure, observables, cancel, weights, known, open })
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
            Solution::Absent(_) => return None,
            Solution::Bound(variances, _) => variances.clone(),
            Solution::Drawn(ensemble) => ensemble.variances(sums),
            Solution::Shares(found) => {
                let direct = self.direct(found);
                let members = found.members();
                let objective = self.objective(self.open.clone());
                let problem = Problem { sums, objective: &objective, families: &members, direct: &direct };
                problem.variances(&found.shares)
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
        (0..variances.len())
            .filter(|&r| self.weights[r] == 0.0 && r >= first)
            .for_each(|r| variances[r] = 0.0);
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
        let structure = self.structure;
        let options = &structure.options;
        let unknown = self.known.iter().zip(&self.weights).filter(|(k, w)| !**k && **w > 0.0).count();
        let partial = (unknown > 0).then(|| {
            format!("{unknown} derivatives have more than {} words and are not counted", options.max_terms)
        });
        let sums = self.observables.sums();
        let grouping = match options.connectivity {
            Connectivity::None => Grouping::QubitWise,
            _ => Grouping::Commuting,
        };
        let absent = |reason: &str| Ok(Solution::Absent(reason.to_owned()));
        match method {
            Method::Uniform => Ok(self.bounded(Ensemble::uniform(sums.n_qubits())?, partial)),
            Method::Biased => Ok(self.bounded(self.drawn(&[(1, 0)], former.is_some())?, partial)),
            Method::Block => {
                if options.connectivity == Connectivity::None {
                    return absent("blocks need two-qubit gates, and connectivity is \"none\"");
                }
                if sums.n_qubits() < 2 {
                    return absent("a block needs two qubits");
                }
                let shapes = [(2, 0), (2, 1), (3, 0)];
                Ok(self.bounded(self.drawn(&shapes, former.is_some())?, partial))
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
                    return Ok(self.bound(grouping, note));
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
                let mut ways = Vec::new();
                ways.extend(structure.echoes.is_ok().then_some(Way::Echo));
                ways.extend(structure.pruned.is_ok().then_some(Way::Shift));
                if ways.is_empty() && self.open.iter().zip(&self.weights).any(|(o, w)| !o && *w > 0.0) {
                    return absent("derivatives with too many words have neither echoes nor shifts");
                }
                // The families of the list of Clifford settings are a start when there is no former plan.
                let start = others.iter().rev().find_map(Solution::settings_only).map(Found::alone);
                let start = start.map(Solution::Shares);
                self.search(grouping, &ways, former.or(start.as_ref()))
            }
            Method::Commuting => match &structure.commuting {
                Err(reason) => absent(reason),
                Ok(found) => {
                    let root = |readings: &crate::design::experiment::Readings| {
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

    /// A design over drawn blocks, or the bound that it is when words are not known.
    fn bounded(&self, ensemble: Ensemble, partial: Option<String>) -> Solution {
        let solution = Solution::Drawn(ensemble);
        match partial {
            None => solution,
            Some(note) => Solution::Bound(self.variances(&solution).unwrap_or_default(), note),
        }
    }

    /// The best letters, or settings of blocks.
    fn drawn(&self, shapes: &[(usize, usize)], follows: bool) -> Result<Ensemble> {
        let objective = self.objective(self.known.clone());
        let options = &self.structure.options;
        let max = options.goal == Goal::Max;
        let effort = if follows { options.effort / FOLLOWING } else { options.effort };
        designed::drawn(self.observables.sums(), &objective, max, shapes, effort, self.cancel)
    }

    fn bound(&self, grouping: Grouping, note: String) -> Solution {
        let sums = self.observables.sums();
        let mut open = self.known.clone();
        open.iter_mut().take(self.structure.n_observables()).for_each(|o| *o = false);
        let scores = self.objective(open).scores(sums);
        let least = lower_bound(sums.words(), &scores, grouping);
        // Spread evenly: only the mean is bounded.
        Solution::Bound(vec![least; sums.len()], note)
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
        let effort = if follows { options.effort / FOLLOWING } else { options.effort };
        let search = Search { sums, objective: &objective, direct: &direct, grouping, effort };
        let mut found = search.run(start, options.goal == Goal::Max, self.cancel)?;
        found.ways = ways.to_vec();
        Ok(Solution::Shares(found))
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
            extra: Cost::default(),
            served: false,
            bound: false,
            note: None,
        };
        if let Some(variances) = self.variances(solution) {
            row.cost = self.mean(&variances);
            row.worst = self.worst(&variances);
            row.variances = variances[first..].to_vec();
        }
        let measured = |setting: &Setting| Cost {
            gates: setting.gates().len(),
            two_qubit_gates: setting.two_qubit_gates(),
            depth: setting.depth(),
        };
        match solution {
            Solution::Absent(note) => row.note = Some(note.clone()),
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
                    .fold(Cost { gates: 1, two_qubit_gates: 0, depth: 2 }, Cost::largest);
            }
            Solution::Shares(found) => {
                row.served = found.ways.is_empty();
                row.settings = Some(found.families.len());
                row.circuits = usize::from(!found.families.is_empty());
                for family in &found.families {
                    let setting =
                        family.setting(self.observables.n_qubits(), self.structure.options.connectivity)?;
                    row.extra = row.extra.largest(measured(setting));
                }
                let mut shares = found.shares.direct.iter();
                for way in &found.ways {
                    let extra: Vec<Cost> = match way {
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
                row.extra = found.map(|(setting, _)| measured(setting)).fold(Cost::default(), Cost::largest);
            }
            Solution::Equal => {
                let shifts = self.structure.wired.iter().flatten();
                row.extra = shifts.clone().map(|s| s.extra()).fold(Cost::default(), Cost::largest);
                row.circuits = 2 * shifts.count();
                row.settings = Some(row.circuits);
            }
        }
        Ok(row)
    }
}
