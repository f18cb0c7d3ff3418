"""NaN and infinity: the operation that made them first."""
