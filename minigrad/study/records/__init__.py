"""Recordings: quantities of every layer during training, measured in the optimizer's hooks."""
