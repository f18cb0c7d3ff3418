"""Compiled training steps: a step is traced once, fused, compiled by LLVM, and then run with the bits of eager."""
