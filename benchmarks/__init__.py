"""Measurements beside the peers, by one command: ``python -m benchmarks``.

Absolute times move between machines and runs, so what is compared runs by turns in one process, and claims are ratios.
``timing`` measures, ``peers`` sets up PyTorch and JAX, ``report`` and ``plots`` write down, ``suite`` runs the groups;
each other module is one group, with a function ``measure`` that returns tables.
"""
