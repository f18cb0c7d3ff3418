"""Make sweep_statistics.json: SciPy's bands of medians, bootstraps and sign-flip tests.

Run where SciPy 1.17 is installed, from the repository's root:  python tests/golden/sweep_statistics.py
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

STORED = Path(__file__).resolve().parent / "sweep_statistics.json"
CONFIDENCES = (0.8, 0.9, 0.95)


def main():
    rng = np.random.default_rng(0)
    bands, intervals, flips = [], [], []
    for n in (5, 6, 7, 8, 10, 16, 33):
        values = rng.standard_gamma(2.0, n)
        for confidence in CONFIDENCES:
            if 1 - 2.0 ** (1 - n) < confidence:  # more than the range of the values covers: SciPy has no band
                continue
            low, high = stats.mstats.median_cihs(values, 1 - confidence)
            bands.append({"values": values.tolist(), "confidence": confidence, "low": low, "high": high})
    for statistic in ("mean", "median"):
        for n in (5, 20):
            values = rng.standard_gamma(2.0, n)
            found = stats.bootstrap(
                (values,), getattr(np, statistic), n_resamples=2000, confidence_level=0.9, method="percentile",
                vectorized=True, rng=np.random.default_rng(3),
            )  # fmt: skip
            low, high = found.confidence_interval
            intervals.append({"values": values.tolist(), "statistic": statistic, "low": low, "high": high})
    for n in (5, 6, 8, 10):
        first, second = rng.standard_normal((2, n))
        tests = []
        for center in np.linspace(-2.5, 2.5, 41):
            found = stats.permutation_test((first - second - center,), np.mean, permutation_type="samples")
            tests.append([float(center), float(found.pvalue)])
        flips.append({"first": first.tolist(), "second": second.tolist(), "tests": tests})
    STORED.write_text(json.dumps({"bands": bands, "bootstraps": intervals, "sign_flips": flips}) + "\n")


if __name__ == "__main__":
    main()
