"""Numbers at a logarithmic axis."""

from __future__ import annotations

from matplotlib.ticker import LogFormatterSciNotation


class PlainLogFormatter(LogFormatterSciNotation):
    """Few decades about 1 read best as 0.2 and 3, others as powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The number as text, empty where it is not shown."""
        if self.axis is None or not (text := super().__call__(x, pos)):
            return ""
        low, high = sorted(self.axis.get_view_interval())
        return f"{x:g}" if low >= 1e-3 and high <= 1e4 else text
