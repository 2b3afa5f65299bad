"""Measurement settings, and ensembles of them."""

from efl_core._native import Ensemble, Setting

__all__ = ["Ensemble", "Setting"]
