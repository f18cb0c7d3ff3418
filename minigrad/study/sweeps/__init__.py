"""Sweeps: the same training with many settings and seeds, stored as it is done, and what can be concluded from it."""

from .sweep import Sweep, load_sweep, sweep

__all__ = ["Sweep", "load_sweep", "sweep"]
