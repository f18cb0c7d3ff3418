"""Measurements beside the peers, in one process: ``python -m benchmarks.optimizer_step``, ``...eager_step`` and others.

Absolute times move between machines and runs, so every script interleaves what it compares and reports ratios.
"""
