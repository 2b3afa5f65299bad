//! Readers as bytes: the compiled form, so that what is read later has the bits that it had.

use super::{Reader, Run, Values};
use crate::masks::Masks;
use crate::stored::{Put, Take, opened, sealed};
use crate::version::Version;
use efl_core::Result;
use efl_core::estimate::DIRECTIONS;

const MARK: [u8; 8] = *b"EFLREAD\0";
const FORMAT: u32 = 2;
/// In the last field, beside 1 for constant weights: the errors of a calibration follow. Format 1 had none.
const CALIBRATED: u8 = 2;

impl Reader {
    /// The reader as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut put = Put::default();
        self.put(&mut put);
        sealed(MARK, FORMAT, put)
    }

    /// Reads what [`Reader::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut take = opened("reader of a version", MARK, FORMAT, bytes)?;
        let reader = Reader::read(&mut take)?;
        take.end()?;
        Ok(reader)
    }

    pub(crate) fn put(&self, put: &mut Put) {
        self.version.put(put);
        put.u16(self.n_outputs as u16);
        put.u32(self.n_parameters as u32);
        self.gradient.iter().for_each(|masks| masks.put(put));
        match &self.values {
            Values::Unread => put.u8(0),
            Values::Answers(runs) => {
                put.u8(1);
                put.len(runs.len());
                for (run, masks) in runs {
                    put.u16(run.window.shots as u16);
                    masks.put(put);
                }
            }
            Values::Entries(masks) => {
                put.u8(2);
                masks.iter().for_each(|masks| masks.put(put));
            }
        }
        put.u8(u8::from(self.constant.is_some()) | if self.calibrated { CALIBRATED } else { 0 });
        if let Some(weights) = &self.constant {
            put.f64s(weights);
        }
        if self.calibrated {
            self.gradient.iter().for_each(|masks| masks.put_wrong(put));
        }
    }

    pub(crate) fn read(take: &mut Take<'_>) -> Result<Self> {
        let version = Version::read(take)?;
        let (shape, entries) = (version.shape(), version.entries());
        let (n_outputs, n_parameters) = (take.u16()?, take.u32()?);
        take.check(n_outputs > 0 && n_parameters > 0, || "it reads nothing".to_owned())?;
        let (n, outputs) = (u32::from(shape.n_qubits), u32::from(n_outputs));
        let mut gradient: Vec<Masks> =
            (0..entries).map(|_| Masks::read(take, n, outputs, n_parameters)).collect::<Result<_>>()?;
        let masks = |take: &mut Take<'_>| Masks::read(take, n, outputs, outputs);
        let values = match take.u8()? {
            0 => Values::Unread,
            1 => {
                let (mut runs, mut start) = (Vec::new(), 0);
                for _ in 0..take.len(2)? {
                    let shots = take.u16()?;
                    take.check(shots > 0, || "a run has no shots".to_owned())?;
                    runs.push((Run::new(start, shots.into()), masks(take)?));
                    start += usize::from(shots);
                }
                let all = start == usize::from(shape.answer_shots) && start > 0;
                take.check(all, || format!("its runs have {start} shots, its version others"))?;
                Values::Answers(runs)
            }
            2 => Values::Entries((0..entries).map(|_| masks(take)).collect::<Result<_>>()?),
            other => return Err(take.damaged(format!("answers of kind {other} do not exist"))),
        };
        let kind = take.u8()?;
        take.check(kind <= 1 | CALIBRATED, || format!("weights of kind {kind} do not exist"))?;
        let (constant, calibrated) =
            (if kind & 1 == 1 { Some(take.f64s()?) } else { None }, kind & CALIBRATED > 0);
        if calibrated {
            for masks in &mut gradient {
                masks.read_wrong(take)?;
            }
            let columns = n_parameters as usize / (1 + DIRECTIONS);
            let fits = columns * (1 + DIRECTIONS) == n_parameters as usize
                && gradient.iter().all(|masks| masks.columns() <= columns);
            take.check(fits, || "it has no room for the errors of its calibration".to_owned())?;
        }
        let sound = |weights: &Vec<f64>| {
            weights.len() == usize::from(n_outputs) && weights.iter().all(|w| w.is_finite())
        };
        take.check(constant.as_ref().is_none_or(sound), || "its weights are others".to_owned())?;
        let shots = shape.setting_shots();
        let settings = (0..usize::from(shape.settings)).map(|j| Run::new(j * shots, shots)).collect();
        let (n_outputs, n_parameters) = (n_outputs.into(), n_parameters as usize);
        Ok(Reader { version, n_outputs, n_parameters, gradient, settings, values, constant, calibrated })
    }
}
