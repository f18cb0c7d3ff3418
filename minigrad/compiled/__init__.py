"""Compiled training steps: a step is traced once, fused, compiled by LLVM, and then run with the bits of eager."""

from .arrays import UntraceableError
from .step import CompiledStep, HiddenInputError, compile

__all__ = ["CompiledStep", "HiddenInputError", "UntraceableError", "compile"]
