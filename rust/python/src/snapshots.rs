//! Snapshots: the handle that `efl_core.Snapshots` wraps. Arguments are checked there for type and shape.

use crate::boundary::enter;
use crate::ensemble::Ensemble;
use crate::error::shape;
use crate::setting::StabiliserState;
use efl_core::snapshots as core;
use efl_core::state::StateVector;
use num_complex::Complex64;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

/// Handle of packed snapshots.
#[pyclass(frozen, module = "efl_core._native", from_py_object)]
#[derive(Clone)]
pub(crate) struct Snapshots(pub(crate) std::sync::Arc<core::Snapshots>);

type Bytes<'py> = Bound<'py, PyArray2<u8>>;
type Words<'py> = Bound<'py, PyArray2<u64>>;
type Indices<'py> = Bound<'py, PyArray2<u32>>;

fn wrap(snaps: core::Snapshots) -> Snapshots {
    Snapshots(std::sync::Arc::new(snaps))
}

fn contiguous<'a, T: numpy::Element>(name: &str, array: &'a PyReadonlyArray2<'_, T>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| shape(name, "a C-contiguous array", "another"))
}

#[pymethods]
impl Snapshots {
    /// Packs arrays of one byte per value.
    #[staticmethod]
    fn from_arrays(
        py: Python<'_>,
        bits: PyReadonlyArray2<'_, u8>,
        bases: PyReadonlyArray2<'_, u8>,
        ensemble: &Ensemble,
    ) -> PyResult<Self> {
        let shots = bits.shape()[0];
        let (bits, bases) = (contiguous("bits", &bits)?, contiguous("bases", &bases)?);
        let ensemble = ensemble.0.clone();
        enter(py, |cancel| core::Snapshots::from_arrays_watched(bits, bases, shots, ensemble, cancel))
            .map(wrap)
    }

    /// Packs bits, one byte each, and indices of settings, one per block.
    #[staticmethod]
    fn from_settings(
        py: Python<'_>,
        bits: PyReadonlyArray2<'_, u8>,
        setting_index: PyReadonlyArray2<'_, u32>,
        ensemble: &Ensemble,
        allocated: bool,
    ) -> PyResult<Self> {
        let shots = bits.shape()[0];
        let (bits, index) = (contiguous("bits", &bits)?, contiguous("setting_index", &setting_index)?);
        let ensemble = ensemble.0.clone();
        enter(py, |cancel| {
            core::Snapshots::from_settings(bits, index, shots, ensemble, cancel)?.with_allocated(allocated)
        })
        .map(wrap)
    }

    /// Packs bits, one byte each, whose settings are drawn from addresses: a row of seed and index for each.
    #[staticmethod]
    fn from_addresses(
        py: Python<'_>,
        bits: PyReadonlyArray2<'_, u8>,
        addresses: PyReadonlyArray2<'_, u64>,
        ensemble: &Ensemble,
    ) -> PyResult<Self> {
        let bits = contiguous("bits", &bits)?;
        let address = |row: &[u64; 2]| core::Address { seed: row[0], index: row[1] };
        let addresses: Vec<_> =
            contiguous("addresses", &addresses)?.as_chunks::<2>().0.iter().map(address).collect();
        let ensemble = ensemble.0.clone();
        enter(py, |cancel| core::Snapshots::from_addresses(bits, addresses, ensemble, cancel)).map(wrap)
    }

    /// Checks and takes tables in the storage layout; x and z, or settings, are empty if the ensemble has none.
    #[staticmethod]
    #[pyo3(signature = (x, z, outcome, settings, ensemble, version=None, replica=None, sequence=None, allocated=false))]
    #[expect(clippy::too_many_arguments, reason = "one per stored column")]
    fn from_rows(
        py: Python<'_>,
        x: PyReadonlyArray2<'_, u64>,
        z: PyReadonlyArray2<'_, u64>,
        outcome: PyReadonlyArray2<'_, u64>,
        settings: PyReadonlyArray2<'_, u32>,
        ensemble: &Ensemble,
        version: Option<PyReadonlyArray1<'_, u32>>,
        replica: Option<PyReadonlyArray1<'_, u64>>,
        sequence: Option<PyReadonlyArray1<'_, u64>>,
        allocated: bool,
    ) -> PyResult<Self> {
        let shots = outcome.shape()[0];
        let rows = core::Rows {
            x: contiguous("x", &x)?.to_vec(),
            z: contiguous("z", &z)?.to_vec(),
            outcome: contiguous("outcome", &outcome)?.to_vec(),
            settings: contiguous("settings", &settings)?.to_vec(),
        };
        let provenance = provenance(version, replica, sequence);
        let ensemble = ensemble.0.clone();
        enter(py, |_| rows.into_snapshots(shots, ensemble, provenance)?.with_allocated(allocated)).map(wrap)
    }

    /// The storage layout: x, z and outcome, each of shape (shots, limbs), and the settings, of shape (shots,
    /// blocks). Those that the ensemble has not have no columns.
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<(Words<'py>, Words<'py>, Words<'py>, Indices<'py>)> {
        let rows = enter(py, |cancel| Ok(core::Rows::from_snapshots(&*self.0.resolved(cancel)?)))?;
        let shots = self.0.len();
        let blocks = self.0.ensemble().block_list().len();
        let limbs = self.0.n_qubits().div_ceil(64);
        let lettered = if blocks == 0 { limbs } else { 0 };
        let array = |table: Vec<u64>, columns| table.into_pyarray(py).reshape([shots, columns]);
        let settings = rows.settings.into_pyarray(py).reshape([shots, blocks])?;
        Ok((array(rows.x, lettered)?, array(rows.z, lettered)?, array(rows.outcome, limbs)?, settings))
    }

    /// Bits, one byte per value, and bases, which has no columns if the ensemble has lists.
    fn to_arrays<'py>(&self, py: Python<'py>) -> PyResult<(Bytes<'py>, Bytes<'py>)> {
        let (bits, bases) = enter(py, |cancel| core::unpack(&*self.0.resolved(cancel)?, cancel))?;
        let (shots, n) = (self.0.len(), self.0.n_qubits());
        let lettered = if self.0.ensemble().letter_probabilities(0).is_some() { n } else { 0 };
        Ok((bits.into_pyarray(py).reshape([shots, n])?, bases.into_pyarray(py).reshape([shots, lettered])?))
    }

    /// The indices of settings, of shape (shots, blocks).
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Indices<'py>> {
        let blocks = self.0.ensemble().block_list().len();
        let settings = enter(py, |cancel| Ok(self.0.resolved(cancel)?.settings().to_vec()))?;
        settings.into_pyarray(py).reshape([self.0.len(), blocks])
    }

    /// A row of seed and index for each snapshot whose setting is kept by its address, else none.
    #[getter]
    fn addresses<'py>(&self, py: Python<'py>) -> PyResult<Option<Words<'py>>> {
        let Some(addresses) = self.0.addresses() else { return Ok(None) };
        let rows: Vec<u64> = addresses.iter().flat_map(|a| [a.seed, a.index]).collect();
        rows.into_pyarray(py).reshape([addresses.len(), 2]).map(Some)
    }

    /// Whether how often each setting was measured was fixed beforehand.
    #[getter]
    fn allocated(&self) -> bool {
        self.0.is_allocated()
    }

    fn with_allocated(&self, py: Python<'_>, allocated: bool) -> PyResult<Self> {
        enter(py, |_| (*self.0).clone().with_allocated(allocated)).map(wrap)
    }

    fn slice(&self, py: Python<'_>, start: usize, end: usize) -> PyResult<Self> {
        enter(py, |_| self.0.slice(start, end)).map(wrap)
    }

    fn take(&self, py: Python<'_>, order: PyReadonlyArray1<'_, u64>) -> PyResult<Self> {
        let order: Vec<usize> = order.as_array().iter().map(|&t| t as usize).collect();
        enter(py, |cancel| self.0.take(&order, cancel)).map(wrap)
    }

    #[staticmethod]
    fn concat(py: Python<'_>, parts: Vec<Snapshots>) -> PyResult<Self> {
        let parts: Vec<&core::Snapshots> = parts.iter().map(|part| &*part.0).collect();
        enter(py, |_| core::Snapshots::concat(&parts)).map(wrap)
    }

    #[pyo3(signature = (version=None, replica=None, sequence=None))]
    fn with_provenance(
        &self,
        py: Python<'_>,
        version: Option<PyReadonlyArray1<'_, u32>>,
        replica: Option<PyReadonlyArray1<'_, u64>>,
        sequence: Option<PyReadonlyArray1<'_, u64>>,
    ) -> PyResult<Self> {
        let provenance = provenance(version, replica, sequence);
        enter(py, |_| (*self.0).clone().with_provenance(provenance)).map(wrap)
    }

    fn with_ensemble(&self, py: Python<'_>, ensemble: &Ensemble) -> PyResult<Self> {
        let ensemble = ensemble.0.clone();
        enter(py, |_| (*self.0).clone().with_ensemble(ensemble)).map(wrap)
    }

    #[getter]
    fn version<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<u32>>> {
        self.0.provenance().version.as_ref().map(|c| c.clone().into_pyarray(py))
    }

    #[getter]
    fn replica<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<u64>>> {
        self.0.provenance().replica.as_ref().map(|c| c.clone().into_pyarray(py))
    }

    #[getter]
    fn sequence<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<u64>>> {
        self.0.provenance().sequence.as_ref().map(|c| c.clone().into_pyarray(py))
    }

    #[getter]
    fn ensemble(&self) -> Ensemble {
        Ensemble(self.0.ensemble().clone())
    }

    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.nbytes()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Snapshots>().is_ok_and(|other| self.0 == other.get().0)
    }
}

fn provenance(
    version: Option<PyReadonlyArray1<'_, u32>>,
    replica: Option<PyReadonlyArray1<'_, u64>>,
    sequence: Option<PyReadonlyArray1<'_, u64>>,
) -> core::Provenance {
    core::Provenance {
        version: version.map(|c| c.as_array().to_vec()),
        replica: replica.map(|c| c.as_array().to_vec()),
        sequence: sequence.map(|c| c.as_array().to_vec()),
    }
}

/// Simulates snapshots of a state vector: so many, or so many of each setting of a list.
#[pyfunction]
#[pyo3(signature = (state, ensemble, shots, counts, seed))]
pub(crate) fn sample(
    py: Python<'_>,
    state: PyReadonlyArray1<'_, Complex64>,
    ensemble: &Ensemble,
    shots: usize,
    counts: Option<PyReadonlyArray1<'_, u64>>,
    seed: u64,
) -> PyResult<Snapshots> {
    let amplitudes = state.as_slice().map_err(|_| shape("state", "a C-contiguous array", "another"))?;
    let ensemble = ensemble.0.clone();
    let counts: Option<Vec<u64>> = counts.map(|counts| counts.as_array().to_vec());
    enter(py, |cancel| {
        let state = StateVector::new(amplitudes)?;
        match counts {
            Some(counts) => core::sample_counts(&state, &ensemble, &counts, seed, cancel),
            None => core::sample(&state, &ensemble, shots, seed, cancel),
        }
    })
    .map(wrap)
}

/// Simulates snapshots of a state that a Clifford circuit prepares.
#[pyfunction]
pub(crate) fn sample_stabiliser(
    py: Python<'_>,
    state: &StabiliserState,
    ensemble: &Ensemble,
    shots: usize,
    seed: u64,
) -> PyResult<Snapshots> {
    enter(py, |cancel| core::sample_stabiliser(&state.0, &ensemble.0, shots, seed, cancel)).map(wrap)
}

/// The settings that `sample` draws for the first `shots` snapshots of a seed: an index for each block, or 0, 1, 2 for the
/// letter on each qubit.
#[pyfunction]
pub(crate) fn draw_settings<'py>(
    py: Python<'py>,
    ensemble: &Ensemble,
    shots: usize,
    seed: u64,
) -> PyResult<Indices<'py>> {
    let ensemble = ensemble.0.clone();
    let settings = enter(py, |cancel| {
        let addresses: Vec<_> = (0..shots as u64).map(|index| core::Address { seed, index }).collect();
        core::draw_settings(&ensemble, &addresses, cancel)
    })?;
    let columns = settings.len() / shots.max(1);
    settings.into_pyarray(py).reshape([shots, columns])
}
