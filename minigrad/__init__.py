"""minigrad: a deep-learning framework small enough to read."""
