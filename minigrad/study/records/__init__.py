"""Recordings: what every layer goes through in training, noted from the optimizer's hooks."""
