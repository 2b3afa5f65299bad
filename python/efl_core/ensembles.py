"""Measurement settings, ensembles of them, and states that Clifford circuits prepare."""

from efl_core._native import Ensemble, Setting, StabiliserState

__all__ = ["Ensemble", "Setting", "StabiliserState"]
