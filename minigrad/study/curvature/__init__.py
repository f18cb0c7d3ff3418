"""Curvature: the largest eigenvalues, trace and spectrum of a loss's Hessian, and where an optimizer is unstable."""

from .hessian import Curvature, Hessian, curvature
from .lanczos import Density, Estimate
from .stability import Stability, stability

__all__ = ["Curvature", "Density", "Estimate", "Hessian", "Stability", "curvature", "stability"]
