"""Data: datasets included in the package, a reader of IDX files, held-out splits, and batches."""

from __future__ import annotations

from . import builtin, dataset, idx, loader
from .builtin import *
from .dataset import *
from .idx import *
from .loader import *

__all__ = sorted([*builtin.__all__, *dataset.__all__, *idx.__all__, *loader.__all__])
