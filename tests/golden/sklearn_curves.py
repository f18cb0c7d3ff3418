"""Run scikit-learn on its gallery's comparison of learning strategies and store the loss of every epoch.

    python tests/golden/sklearn_curves.py     writes sklearn_curves.npz next to this file

The example is "Compare Stochastic learning strategies for MLPClassifier" of scikit-learn's gallery
(auto_examples/neural_networks/plot_mlp_training_curves), on its datasets digits and iris. Stored are the loss curves,
iris itself (Fisher 1936, as scikit-learn distributes it, in tenths of a centimeter), and SHA-256 digests of the initial
weights and of the batch orders that scikit-learn drew. Written with scikit-learn 1.9.1; `run` also serves the live
comparison in tests/optim/test_published_sklearn.py.
"""

import hashlib
import warnings
from pathlib import Path

import numpy as np

STORED = Path(__file__).resolve().parent / "sklearn_curves.npz"
EPOCHS = {"digits": 15, "iris": 400}
SGD = {"solver": "sgd", "learning_rate_init": 0.2}
STRATEGIES = {
    "constant": {**SGD, "learning_rate": "constant", "momentum": 0},
    "constant, momentum": {**SGD, "learning_rate": "constant", "momentum": 0.9, "nesterovs_momentum": False},
    "constant, Nesterov": {**SGD, "learning_rate": "constant", "momentum": 0.9, "nesterovs_momentum": True},
    "invscaling": {**SGD, "learning_rate": "invscaling", "momentum": 0},
    "invscaling, momentum": {**SGD, "learning_rate": "invscaling", "momentum": 0.9, "nesterovs_momentum": False},
    "invscaling, Nesterov": {**SGD, "learning_rate": "invscaling", "momentum": 0.9, "nesterovs_momentum": True},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}


def dataset(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels as scikit-learn has them."""
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(return_X_y=True)


def run(features: np.ndarray, labels: np.ndarray, epochs: int, strategy: dict) -> tuple[dict[str, np.ndarray], list]:
    """The losses, the score, the initial weights in order (weights, then biases), and the rows of every epoch."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, _multilayer_perceptron
    from sklearn.preprocessing import MinMaxScaler

    drawn, orders = [], []
    shuffle = _multilayer_perceptron.shuffle

    class Watched(MLPClassifier):
        def _initialize(self, *args):
            super()._initialize(*args)
            drawn.extend(array.copy() for array in (*self.coefs_, *self.intercepts_))

    def watched_shuffle(*args, **kwargs):
        orders.append(shuffle(*args, **kwargs))
        return orders[-1]

    mlp = Watched(random_state=0, max_iter=epochs, **strategy)
    _multilayer_perceptron.shuffle = watched_shuffle
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scaled = MinMaxScaler().fit_transform(features)
            mlp.fit(scaled, labels)
    finally:
        _multilayer_perceptron.shuffle = shuffle
    found = {"losses": np.array(mlp.loss_curve_), "score": np.array(mlp.score(scaled, labels))}
    return found | {"orders": np.array(orders)}, drawn


def digest(arrays) -> str:
    """SHA-256 over values, in order."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def main() -> None:
    """Write the store."""
    stored = {}
    for name, epochs in EPOCHS.items():
        features, labels = dataset(name)
        for strategy, options in STRATEGIES.items():
            found, weights = run(features, labels, epochs, options)
            print(name, strategy, len(found["losses"]), f"{found['score']:.6f} {found['losses'][-1]:.6f}")
            stored[f"{name}/{strategy}/losses"] = found["losses"]
            stored[f"{name}/{strategy}/score"] = found["score"]
            if strategy == "constant":
                stored[f"{name}/weights"] = np.array(digest(weights))
                # Two epochs are enough: every later order is drawn from the same stream.
                stored[f"{name}/orders"] = np.array(digest(found["orders"][:2].astype(np.int64)))
    features, labels = dataset("iris")
    stored["iris/features"] = np.rint(features * 10).astype(np.uint8)
    stored["iris/labels"] = labels.astype(np.uint8)
    assert np.array_equal(stored["iris/features"] / 10, features)
    np.savez_compressed(STORED, **stored)


if __name__ == "__main__":
    main()
