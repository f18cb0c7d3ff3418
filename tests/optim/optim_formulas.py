"""The element-wise algorithms as their papers write them: NumPy, float64, one array per tensor.

    new_theta = algorithm(theta, g, state, t, *, lr, ...)

`state` is the dictionary of that one parameter and `t` counts, from 1, the steps in which it had a gradient. Keyword
names and defaults are PyTorch's wherever PyTorch has the algorithm. optim_reference.py runs them over a model.
"""

import numpy as np

__all__ = [
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "lion",
    "moments",
    "nadam",
    "radam",
    "rmsprop",
    "sgd",
]


def sgd(theta, g, state, t, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """L2, then momentum, then lr; the first buffer is the raw gradient, so dampening starts at the second step."""
    g = g + weight_decay * theta
    if momentum != 0:
        if "momentum_buffer" in state:
            state["momentum_buffer"] = momentum * state["momentum_buffer"] + (1 - dampening) * g
        else:
            state["momentum_buffer"] = g
        g = g + momentum * state["momentum_buffer"] if nesterov else state["momentum_buffer"]
    return theta - lr * g


def _root(x, eps, eps_in_sqrt):
    return np.sqrt(x + eps) if eps_in_sqrt else np.sqrt(x) + eps


def adagrad(
    theta,
    g,
    state,
    t,
    *,
    lr=1e-2,
    lr_decay=0.0,
    weight_decay=0.0,
    initial_accumulator_value=0.0,
    eps=1e-10,
    eps_in_sqrt=False,
):
    """Duchi, Hazan, Singer 2011: s += g²; theta -= lr / (1 + (t-1)·lr_decay) · g / (√s + eps)."""
    g = g + weight_decay * theta
    state["sum"] = state.get("sum", np.full_like(theta, initial_accumulator_value)) + g**2
    return theta - lr / (1 + (t - 1) * lr_decay) * g / _root(state["sum"], eps, eps_in_sqrt)


def rmsprop(
    theta,
    g,
    state,
    t,
    *,
    lr=1e-2,
    alpha=0.99,
    eps=1e-8,
    weight_decay=0.0,
    momentum=0.0,
    centered=False,
    eps_in_sqrt=False,
):
    """Tieleman and Hinton 2012; centered as Graves 2013, with the variance clamped at 0; lr outside the momentum."""
    g = g + weight_decay * theta
    state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * g**2
    variance = state["square_avg"]
    if centered:
        state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
        variance = np.maximum(variance - state["grad_avg"] ** 2, 0.0)
    update = g / _root(variance, eps, eps_in_sqrt)
    if momentum != 0:
        update = state["momentum_buffer"] = momentum * state.get("momentum_buffer", 0.0) + update
    return theta - lr * update


def moments(g, state, betas):
    """Biased first and second moment, updated in the state."""
    state["exp_avg"] = betas[0] * state.get("exp_avg", 0.0) + (1 - betas[0]) * g
    state["exp_avg_sq"] = betas[1] * state.get("exp_avg_sq", 0.0) + (1 - betas[1]) * g**2
    return state["exp_avg"], state["exp_avg_sq"]


def _decay(theta, g, factor, weight_decay, decoupled):
    """(theta, g) after weight decay: theta·(1 - factor·λ), or the L2 term in the gradient."""
    return (theta * (1 - factor * weight_decay), g) if decoupled else (theta, g + weight_decay * theta)


def adam(
    theta,
    g,
    state,
    t,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    decoupled_weight_decay=False,
):
    """Kingma and Ba 2015; AMSGrad keeps the maximum of the raw second moment and corrects its bias afterwards."""
    theta, g = _decay(theta, g, lr, weight_decay, decoupled_weight_decay)
    m, v = moments(g, state, betas)
    if amsgrad:
        v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
    m_hat = m / (1 - betas[0] ** t)
    v_hat = v / (1 - betas[1] ** t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(
    theta,
    g,
    state,
    t,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=1e-2,
    amsgrad=False,
    decay_coupling="lr",
    initial_lr=None,
):
    """Loshchilov and Hutter 2019. Decay by lr·λ, or ("schedule", the paper) by the schedule's factor times λ."""
    factor = {"lr": lr, "schedule": lr / initial_lr}[decay_coupling]
    theta = theta * (1 - factor * weight_decay)
    return adam(theta, g, state, t, lr=lr, betas=betas, eps=eps, amsgrad=amsgrad)


def radam(
    theta,
    g,
    state,
    t,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    threshold=5.0,
):
    """Liu et al. 2020; rectified when rho_t > threshold (the paper's is 4); eps is added to the uncorrected √v."""
    theta, g = _decay(theta, g, lr, weight_decay, decoupled_weight_decay)
    m, v = moments(g, state, betas)
    m_hat = m / (1 - betas[0] ** t)
    rho_inf = 2 / (1 - betas[1]) - 1
    rho = rho_inf - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= threshold:
        return theta - lr * m_hat
    rectification = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return theta - lr * rectification * m_hat * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)


def nadam(
    theta,
    g,
    state,
    t,
    *,
    lr=2e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
):
    """Dozat 2016, with the momentum schedule mu_t = beta1·(1 - 0.96^(t·momentum_decay) / 2)."""
    theta, g = _decay(theta, g, lr, weight_decay, decoupled_weight_decay)
    m, v = moments(g, state, betas)
    mu = betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = betas[0] * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product = state["mu_product"] = state.get("mu_product", 1.0) * mu
    m_bar = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    return theta - lr * m_bar / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def adamax(theta, g, state, t, *, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Kingma and Ba 2015, section 7.1; eps inside the maximum, u = max(beta2·u, |g| + eps), as torch and optax."""
    g = g + weight_decay * theta
    state["exp_avg"] = betas[0] * state.get("exp_avg", 0.0) + (1 - betas[0]) * g
    state["exp_inf"] = np.maximum(betas[1] * state.get("exp_inf", 0.0), np.abs(g) + eps)
    return theta - lr / (1 - betas[0] ** t) * state["exp_avg"] / state["exp_inf"]


def adadelta(theta, g, state, t, *, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Zeiler 2012: delta = √(E[delta²] + eps) / √(E[g²] + eps) · g, with the previous E[delta²]."""
    g = g + weight_decay * theta
    state["square_avg"] = rho * state.get("square_avg", 0.0) + (1 - rho) * g**2
    previous = state.get("acc_delta", 0.0)
    delta = np.sqrt(previous + eps) / np.sqrt(state["square_avg"] + eps) * g
    state["acc_delta"] = rho * previous + (1 - rho) * delta**2
    return theta - lr * delta


def lion(theta, g, state, t, *, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    """Chen et al. 2023: the sign of a beta1 average, while the state is a beta2 average; decay is decoupled."""
    m = state.get("exp_avg", 0.0)
    state["exp_avg"] = betas[1] * m + (1 - betas[1]) * g
    return theta * (1 - lr * weight_decay) - lr * np.sign(betas[0] * m + (1 - betas[0]) * g)


def adabelief(
    theta, g, state, t, *, lr=1e-3, betas=(0.9, 0.999), eps=1e-16, weight_decay=0.0, decoupled_weight_decay=False
):
    """Zhuang et al. 2020, algorithm 2: eps is added to the stored s at every step, so it accumulates, and again to √ŝ.

    s = beta2·s + (1 - beta2)·(g - m)² + eps, with the new m. timm and pytorch_optimizer (rectify=False) and optax
    (eps_root = eps) compute this; the residual against the old m, or eps kept out of the state, is another algorithm.
    """
    theta, g = _decay(theta, g, lr, weight_decay, decoupled_weight_decay)
    m = state["exp_avg"] = betas[0] * state.get("exp_avg", 0.0) + (1 - betas[0]) * g
    s = state["exp_avg_var"] = betas[1] * state.get("exp_avg_var", 0.0) + (1 - betas[1]) * (g - m) ** 2 + eps
    return theta - lr * m / (1 - betas[0] ** t) / (np.sqrt(s / (1 - betas[1] ** t)) + eps)
