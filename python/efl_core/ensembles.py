"""Ensembles of measurement settings."""

from efl_core._native import Ensemble

__all__ = ["Ensemble"]
