"""Comparisons with PyTorch and JAX, measured by one command: ``python -m benchmarks``.

Absolute times vary between machines and runs, so whatever is compared runs interleaved in one process, and claims are
ratios. ``timing`` measures, ``peers`` sets up PyTorch and JAX, ``report`` and ``plots`` write the results, ``suite``
runs the groups; each other module is one group, with a function ``measure`` that returns tables.
"""
