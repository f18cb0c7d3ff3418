"""Functions with the same text in PyTorch and minigrad, and the inputs at which they are differentiated."""

import numpy as np

_rng = np.random.default_rng(0)
X, V = _rng.standard_normal((2, 2, 3))
B, C = _rng.standard_normal((2, 3))


def mixed(x, b):
    """A number in which every element meets every other."""
    return ((x * b).exp().sum() + (x @ b) @ (x @ b)).sqrt()


def both(x, b):
    """Two outputs, the second of which depends on one input only."""
    return (x * b).tanh() @ b, b**3


def network(nn):
    """A model of 23 parameters."""
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2), nn.Linear(2, 1))
