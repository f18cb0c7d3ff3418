"""Sweeps: rates, seeds and other settings of a run, varied; their results and the statistics of these."""
