"""Recipes: a run described by text, as options of the command line or in a run's ``config.json``, and made from that.

`catalog` has the names that a description may use, `calls` reads names with arguments, and `recipe` makes the data, the
model, the optimizer and the run.
"""
