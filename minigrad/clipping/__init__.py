"""Gradient clipping: by norm at any scope, by value, adaptively.

A clip is either part of an optimizer's chain, ``optim.Adam(params, clip=clipping.by_global_norm(1.0))``, where only its
norm costs a pass over memory, or a function that changes the gradients in place, as in PyTorch. Both run the same rules
on the same buffers, so they give the same bits.
"""

from .clip import Clip, adaptive, by_global_norm, by_norm, by_value
from .in_place import adaptive_clip_grad_, clip_grad_norm_, clip_grad_value_
from .reports import ClipReport

__all__ = [
    "Clip",
    "ClipReport",
    "adaptive",
    "adaptive_clip_grad_",
    "by_global_norm",
    "by_norm",
    "by_value",
    "clip_grad_norm_",
    "clip_grad_value_",
]
