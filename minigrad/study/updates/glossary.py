"""What the names of rules mean: words beside the numbers of an explained update."""

from __future__ import annotations

WORDS = {
    "along_gradient": "1 where Nesterov's gradient comes before the buffer",
    "adapted": "0 where the parameter is left out of the adaptation",
    "ahead": "how much of the buffer Nesterov's momentum adds",
    "clipped": "0 where the clip leaves the parameter alone",
    "debias1": "bias correction 1 / (1 - beta1^t)",
    "debias2": "bias correction 1 / (1 - beta2^t)",
    "decayed_lr": "lr / (1 + (t - 1) lr_decay)",
    "factor": "of the clip: 1 within the threshold",
    "from_average": "share of the average, by the momentum schedule",
    "from_gradient": "share of the gradient, by the momentum schedule",
    "kept": "share that is kept: of the parameter under decay, or of the momentum buffer",
    "l2": "weight decay that enters the gradient",
    "rectification": "scales the step for the variance of the second moment; 0 where not rectified",
    "rectified": "1 where rho is above the threshold, and the step is rectified",
    "rho": "length of the average that the second moment amounts to",
    "schedule_factor": "the learning rate over its first value",
    "taken": "what is taken of the new gradient: 1 for the first buffer, then 1 - dampening",
    "mu_product": "product of the momentum schedule up to this step",
    "momentum_begun": "1 once the momentum buffer has begun",
    "trust_ratio": "norm of the parameter over norm of the update; 1 where it is not adapted",
}


def words(name: str) -> str:
    """What a name means; the second clip of a chain has a 2 behind its names."""
    return WORDS.get(name) or WORDS.get(name.rstrip("0123456789"), "")
