//! What the bits of a version mean: for each entry of its roster masks and coefficients, compiled once.
//!
//! A query with weights `w` (one per output, the derivative of its loss) says of the gradient
//! `Y_m = 1/s sum_j 1/c sum_t sum_o w_o reading_{o,m}(t) / share_j`, over its `s` teach settings of `c` shots. With the
//! entries drawn by their shares its mean is that of `sum_o w_o df_o/dtheta_m`, if the weights come from other shots.
//! The answers `f_o` are read from the answer shots; where there are none, from the teach settings (gentle entries).
//!
//! Invariant: the divisions by share and shots are part of the coefficients, and the shares are the quantised ones.
//! Cost: two XORs and a population count per word and 64 shots, a multiplication per coefficient; 16 bytes per coefficient,
//! half a megabyte for a roster of 200 settings and 60 derivatives.

mod read;
mod stored;

pub use read::{Query, Scratch, Weights};

use crate::masks::{Collect, Masks, Window};
use crate::version::Version;
use efl_core::estimate::{Calibration, DIRECTIONS, Directions};
use efl_core::experiment::Experiment;
use efl_core::pauli::PauliSum;
use efl_core::stabiliser::Setting;
use efl_core::{Error, Result};

/// One entry of a roster: how its circuit is measured, and what that says.
#[derive(Debug, Clone)]
pub struct Entry {
    /// How the final state is measured.
    pub setting: Setting,
    /// For rows of the gradient what is read; row `o * K + k` is the derivative of output `o` by parameter `k` of `K`.
    pub readings: Vec<(usize, PauliSum)>,
    /// For outputs what is read: gentle entries answer as well.
    pub values: Vec<(usize, PauliSum)>,
}

impl Entry {
    /// What an experiment reads.
    pub fn from_experiment(experiment: &Experiment) -> Result<Self> {
        let readings = experiment.readings();
        let sum = |(j, &row): (usize, &usize)| Ok((row, readings.sums().sum(j)?));
        let rows = readings.rows().iter().enumerate().map(sum).collect::<Result<_>>()?;
        Ok(Entry { setting: experiment.setting().clone(), readings: rows, values: Vec::new() })
    }
}

/// Some of the answer shots of a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How the answered state is measured.
    pub setting: Setting,
    /// Number of shots.
    pub shots: u16,
    /// For outputs what is read, as a mean over these shots.
    pub values: Vec<(usize, PauliSum)>,
}

/// How derivatives by gate parameters become those that are counted.
#[derive(Debug, Clone)]
pub struct Slopes {
    columns: usize,
    /// For each gate parameter what it contributes to: a column and a slope that is not zero.
    rows: Vec<Vec<(u32, f64)>>,
}

impl Slopes {
    /// Of gate parameters that are the parameters.
    pub fn identity(n_parameters: usize) -> Self {
        let rows = (0..n_parameters as u32).map(|k| vec![(k, 1.0)]).collect();
        Slopes { columns: n_parameters, rows }
    }

    /// From a table with a row for each gate parameter and a column for each derivative that is counted.
    pub fn table(values: &[f64], columns: usize) -> Result<Self> {
        if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
            let found = format!("{} values for {columns} columns", values.len());
            return Err(Error::shape("slopes", "a row for each gate parameter, at least one column", found));
        }
        finite("slopes", values)?;
        let used = |row: &[f64]| {
            let slopes = (0..).zip(row.iter().copied());
            slopes.filter(|(_, slope)| *slope != 0.0).collect()
        };
        Ok(Slopes { columns, rows: values.chunks_exact(columns).map(used).collect() })
    }
}

/// Shots that are read in one setting.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    start: usize,
    window: Window,
}

impl Run {
    fn new(start: usize, shots: usize) -> Self {
        Run { start, window: Window::new(start, shots) }
    }
}

/// Where the answers of a query come from.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    /// Its answer shots, each run with what it reads.
    Answers(Vec<(Run, Masks)>),
    /// Its teach settings: what each entry reads.
    Entries(Vec<Masks>),
    /// Nowhere.
    Unread,
}

/// The compiled readings of a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Reader {
    version: Version,
    n_outputs: usize,
    n_parameters: usize,
    /// What each entry says of the gradient.
    gradient: Vec<Masks>,
    /// The shots of each teach setting.
    settings: Vec<Run>,
    values: Values,
    /// Weights that all queries have.
    constant: Option<Vec<f64>>,
    /// Whether masks say how wrong a calibration may be.
    calibrated: bool,
}

impl Reader {
    /// Compiles the readings of a version: an entry for each share, runs of answers whose shots add up to its answer
    /// shots. With `constant` weights, one per output, queries need no others. With the calibration that readings were
    /// divided by, what is counted are the derivatives, and behind them by how much each is wrong in the [`DIRECTIONS`] of
    /// the calibration.
    pub fn new(
        version: Version,
        n_outputs: usize,
        entries: &[Entry],
        answers: &[Answer],
        slopes: &Slopes,
        constant: Option<Vec<f64>>,
        calibration: Option<&Calibration>,
    ) -> Result<Self> {
        let shape = version.shape();
        if n_outputs == 0 || n_outputs > usize::from(u16::MAX) {
            return Err(Error::invalid("n_outputs", "1 to 65535", n_outputs.to_string()));
        }
        if entries.len() != version.entries() {
            let expected = format!("{}, one per share", version.entries());
            return Err(Error::shape("entries", expected, entries.len().to_string()));
        }
        if let Some(weights) = &constant {
            if weights.len() != n_outputs {
                let expected = format!("{n_outputs}, one per output");
                return Err(Error::shape("weights", expected, weights.len().to_string()));
            }
            finite("weights", weights)?;
        }
        let n = usize::from(shape.n_qubits);
        let shots = shape.setting_shots();
        let settings = (0..usize::from(shape.settings)).map(|j| Run::new(j * shots, shots)).collect();
        if let Some(calibration) = calibration.filter(|own| own.n_qubits() != n) {
            let expected = format!("one of {n} qubits, as the version has");
            return Err(Error::shape("calibration", expected, calibration.n_qubits().to_string()));
        }
        let mut directions = calibration.map(Calibration::directions);
        let gradient = (entries.iter().enumerate())
            .map(|(e, entry)| {
                width(&format!("entries[{e}]"), &entry.setting, n)?;
                let factor = 1.0 / (version.share(e) * f64::from(shape.teach_shots));
                gradient_masks(entry, n_outputs, slopes, factor, directions.as_mut())
                    .map_err(|error| error.named(format!("entries[{e}]")))
            })
            .collect::<Result<_>>()?;
        let values = values(&version, n_outputs, entries, answers)?;
        let calibrated = directions.is_some();
        let n_parameters = slopes.columns * if calibrated { 1 + DIRECTIONS } else { 1 };
        Ok(Reader { version, n_outputs, n_parameters, gradient, settings, values, constant, calibrated })
    }

    /// The version that it reads.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Number of outputs.
    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    /// Number of derivatives that are counted, with a calibration together with what they are wrong by.
    pub fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// The weights that all queries have, if they have.
    pub fn constant(&self) -> Option<&[f64]> {
        self.constant.as_deref()
    }

    /// Shots that read the answers.
    pub fn value_shots(&self) -> usize {
        let shape = self.version.shape();
        match self.values {
            Values::Answers(_) => shape.answer_shots.into(),
            Values::Entries(_) => shape.teach_shots.into(),
            Values::Unread => 0,
        }
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        let values = match &self.values {
            Values::Answers(runs) => runs.iter().map(|(_, masks)| masks.nbytes()).sum(),
            Values::Entries(masks) => masks.iter().map(Masks::nbytes).sum(),
            Values::Unread => 0,
        };
        self.gradient.iter().map(Masks::nbytes).sum::<usize>() + values + 8 * self.version.entries()
    }
}

fn finite(name: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => Err(Error::invalid(format!("{name}[{i}]"), "a finite number", values[i].to_string())),
        None => Ok(()),
    }
}

fn width(name: &str, setting: &Setting, n_qubits: usize) -> Result<()> {
    if setting.n_qubits() != n_qubits {
        let expected = format!("a setting of {n_qubits} qubits, as the version has");
        return Err(Error::shape(name.to_owned(), expected, setting.n_qubits().to_string()));
    }
    Ok(())
}

fn gradient_masks(
    entry: &Entry,
    n_outputs: usize,
    slopes: &Slopes,
    factor: f64,
    directions: Option<&mut Directions<'_>>,
) -> Result<Masks> {
    let parameters = slopes.rows.len();
    let mut collect = Collect::new(&entry.setting);
    for (row, sum) in &entry.readings {
        let (output, k) = (row / parameters, row % parameters);
        if output >= n_outputs {
            let expected = format!("rows below {n_outputs} outputs times {parameters} parameters");
            return Err(Error::invalid("readings", expected, row.to_string()));
        }
        for (column, slope) in &slopes.rows[k] {
            collect.add(output as u32, *column, sum, slope * factor)?;
        }
    }
    let masks = collect.finish(directions)?;
    if !masks.are_finite() {
        return Err(Error::invalid("readings", "finite coefficients, also divided by shares", "others"));
    }
    Ok(masks)
}

fn value_masks(setting: &Setting, sums: &[(usize, PauliSum)], n_outputs: usize) -> Result<Masks> {
    let mut collect = Collect::new(setting);
    for (output, sum) in sums {
        if *output >= n_outputs {
            let expected = format!("outputs below {n_outputs}");
            return Err(Error::invalid("values", expected, output.to_string()));
        }
        // The number that an output contributes to is its answer.
        collect.add(*output as u32, *output as u32, sum, 1.0)?;
    }
    collect.finish(None)
}

fn values(version: &Version, n_outputs: usize, entries: &[Entry], answers: &[Answer]) -> Result<Values> {
    let shape = version.shape();
    let n = usize::from(shape.n_qubits);
    let total: usize = answers.iter().map(|run| usize::from(run.shots)).sum();
    if total != usize::from(shape.answer_shots) || answers.iter().any(|run| run.shots == 0) {
        let expected =
            format!("runs of at least one shot, {} together, as the version has", shape.answer_shots);
        return Err(Error::shape("answers", expected, total.to_string()));
    }
    let (mut runs, mut start) = (Vec::new(), 0);
    for (i, run) in answers.iter().enumerate() {
        width(&format!("answers[{i}]"), &run.setting, n)?;
        let masks = value_masks(&run.setting, &run.values, n_outputs)
            .map_err(|error| error.named(format!("answers[{i}]")))?;
        runs.push((Run::new(start, run.shots.into()), masks));
        start += usize::from(run.shots);
    }
    if !runs.is_empty() {
        let read = |o: usize| answers.iter().any(|run| run.values.iter().any(|(output, _)| *output == o));
        return match (0..n_outputs).find(|o| !read(*o)) {
            Some(o) => {
                Err(Error::invalid("answers", "a run that reads every output", format!("none for {o}")))
            }
            None => Ok(Values::Answers(runs)),
        };
    }
    if entries.iter().all(|entry| entry.values.is_empty()) {
        return Ok(Values::Unread);
    }
    let masks = |(e, entry): (usize, &Entry)| {
        value_masks(&entry.setting, &entry.values, n_outputs)
            .map_err(|error| error.named(format!("entries[{e}]")))
    };
    entries.iter().enumerate().map(masks).collect::<Result<_>>().map(Values::Entries)
}
