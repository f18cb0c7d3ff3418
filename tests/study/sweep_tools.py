"""Made-up sweeps, whose truth is known."""

import math

import numpy as np

from minigrad.study.sweeps.results import Results

RATES = [1e-4, 3.162e-4, 1e-3, 3.162e-3, 0.01, 0.03162, 0.1, 0.3162, 1.0]
# Where the loss is lowest, in decades, how low, and from which rate on runs diverge.
OPTIMIZERS = {
    "SGD": (-0.9, 0.17, -0.2),
    "Adam": (-1.7, 0.16, 0.3),
    "RAdam": (-1.6, 0.165, 0.3),
    "LAMB": (-1.9, 0.22, -0.9),
    "RMSprop": (-2.2, 0.17, -0.4),
    "Adagrad": (-1.0, 0.18, 1.0),
    "Lion": (-2.5, 0.16, -0.9),
}
EPOCHS, STEPS = 10, 36


def made_up(
    optimizers=("SGD", "Adam", "LAMB"), rates=RATES, seeds=5, noise=0.08, settings=(), accuracy=True, data=("digits",)
):
    """Results of a sweep whose final loss is a parabola in the logarithm of the rate, times noise of the seeds.

    Args:
        settings: names and values of further settings, such as ``(("weight_decay", (0.0, 1e-4)),)``.
    """
    rng = np.random.default_rng(0)
    of_seed = np.exp(noise * rng.standard_normal(seeds))
    table, curves = [], {}
    combinations = [{}]
    for name, values in (("data", data), ("optimizer", optimizers), ("lr", rates), *settings):
        combinations = [{**each, name: value} for each in combinations for value in values]
    for combination in combinations:
        place, low, edge = OPTIMIZERS[combination["optimizer"]]
        decades = math.log10(combination["lr"])
        away = (decades - place) ** 2 + sum(
            (0.3 * values.index(combination[name])) ** 2 for name, values in settings if name in combination
        )
        for seed in range(seeds):
            final = min(low * math.exp(0.9 * away) * of_seed[seed] * math.exp(noise * rng.standard_normal()), 2.3)
            diverged = decades > edge + 0.3 * rng.standard_normal()
            epochs = 2 if diverged else EPOCHS
            run = len(table)
            curves[run] = [
                {
                    "train_loss": 0.8 * loss,
                    "validation_loss": loss,
                    **(
                        {"train_accuracy": 1 - 0.8 * loss / 2.3, "validation_accuracy": 1 - 0.9 * loss / 2.3}
                        if accuracy
                        else {}
                    ),
                }
                for loss in (final + (2.3 - final) * math.exp(-0.6 * epoch) for epoch in range(1, epochs + 1))
            ]
            last = curves[run][-1]
            tested = {} if diverged else {
                "test_loss": last["validation_loss"] * 1.02,
                **({"test_accuracy": last["validation_accuracy"] - 0.004} if accuracy else {}),
            }  # fmt: skip
            row = {"run": run, **combination, "seed": seed, "status": "diverged" if diverged else "finished"}
            row |= {
                "epochs": epochs,
                "steps": STEPS * epochs,
                "step_diverged": STEPS * epochs + 1 if diverged else None,
            }
            row |= dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"))
            row |= dict.fromkeys(("test_loss", "test_accuracy"))
            table.append(
                {**row, **last, **tested, "seconds": 0.02 * epochs, "reason": "the loss is nan" if diverged else ""}
            )
    names = ["data", "optimizer", "lr", *(name for name, _ in settings)]
    return Results(names, table, curves.__getitem__, lambda run, part: 2.3)
