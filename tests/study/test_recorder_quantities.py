"""What a recorder says of a step is what one works out from saved parameters and gradients with the textbook formulas.

The textbook (optim_reference.py) shares no code with minigrad; it walks beside the recorded optimizer on the gradients
that were saved, in float64, and its state is what rates and signals are worked out from here.
"""

import copy
import math

import numpy as np
import optim_formulas
import pytest
from optim_reference import Lookahead
from optim_registry import VARIANTS, entry_named
from optim_tools import Chain, leaves, set_gradients

from minigrad import Tensor, clipping, manual_seed, nn, optim, study
from minigrad.optim import norm, rule, sqrt
from minigrad.study.records.quantities import LAYER

STEPS = 6  # beyond a synchronization of Lookahead, and into RAdam's rectified steps
LAYERS = {"0": ("0.weight", "0.bias"), "2": ("2.weight", "2.bias")}


def network():
    manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def loss_of(model, step):
    x = np.random.default_rng(step).normal(size=(6, 4))
    return (model(Tensor(x)) ** 2).sum()


def arrays(model):
    return {name: p.data.copy() for name, p in model.named_parameters()}


def followed(entry, options, **more):
    """The recorder of some steps, and for each: parameters before and after, gradients, and a textbook before it."""
    model = network()
    optimizer = entry.make(model.named_parameters(), **options, **more)
    textbook, history = entry.reference(arrays(model), **options), []
    with study.Recorder(model, optimizer, every=1, probe=False) as recorder:
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            grads = {name: p.grad.data.copy() for name, p in model.named_parameters()}
            before, earlier = arrays(model), copy.deepcopy(textbook)
            optimizer.step()
            textbook.step(grads)
            history.append((before, arrays(model), grads, earlier, copy.deepcopy(textbook)))
    return recorder.recording, history


def length(arrays):
    return math.sqrt(sum(float((np.asarray(a, np.float64) ** 2).sum()) for a in arrays))


def both(entry):
    """The textbook of the fast weights, with or without slow ones around it."""
    return entry.base if isinstance(entry, Lookahead) else entry


@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda x: getattr(x, "name", x))
def test_norms_are_those_of_the_saved_arrays(entry, variant):
    recording, history = followed(entry, entry.variants[variant].options)
    for row, (before, after, grads, _, _) in enumerate(history):
        for layer, names in LAYERS.items():
            found = recording.records[row]["layers"][layer]
            change = length(after[n] - before[n] for n in names)
            expected = {
                "gradient_norm": length(grads[n] for n in names),
                "parameter_norm": length(before[n] for n in names),
                "update_norm": change,
                "update_ratio": change / length(before[n] for n in names),
            }
            for name, value in expected.items():
                assert found[name] == pytest.approx(value, rel=1e-12), (layer, name)
    assert recording.steps.tolist() == list(range(1, STEPS + 1))


def parts(entry, textbook, name, grad):
    """The change of one parameter from the gradient, and from decay, by the textbook's formulas."""
    base = both(textbook)
    _, group = base.groups[0]
    options = {key: value for key, value in group.items() if key != "maximize"}
    theta, state, t = base.params[name], base.state[name], base.age[name] + 1
    g = -grad if group["maximize"] else grad
    if entry.textbook in ("LAMB", "LARS"):
        return layerwise_parts(entry, base, name, g)
    after = copy.deepcopy(state)
    whole = base.algorithm(theta, g, after, t, **options) - theta
    strength = options.get("weight_decay", 0.0)
    if not strength:
        return whole, 0.0 * whole
    if entry.textbook == "Lion" or entry.name == "AdamW" or options.get("decoupled_weight_decay"):
        alone = base.algorithm(theta, g, state, t, **options | {"weight_decay": 0.0}) - theta
        return alone, whole - alone
    # L2 has its part of g + λθ, and so of what the step makes of that alone, without earlier gradients. Both are
    # divided by the same root: without decay the root would be another, and the step about as long.
    part = strength * theta / (g + strength * theta)
    if entry.name == "AdaBelief":  # the root depends on the moment
        s = after["exp_avg_var"] / (1 - options["betas"][1] ** t)
        moment = (1 - options["betas"][0]) * (g + strength * theta) / (1 - options["betas"][0] ** t)
        fresh = -options["lr"] * moment / (np.sqrt(s) + options["eps"])
    else:
        still = {slot: 0.0 * x if slot in ("exp_avg", "momentum_buffer") else x for slot, x in state.items()}
        fresh = base.algorithm(theta, g, still, t, **options) - theta
    return whole - part * fresh, part * fresh


def layerwise_parts(entry, base, name, g):
    """Decay is excluded for the biases, and scaled by the ratio that was taken with it."""
    theta, state, t, options = base.params[name], base.state[name], base.age[name] + 1, base.groups[0][1]
    decay = 0.0 if theta.ndim <= 1 else options["weight_decay"]
    whole = base.direction(theta, g, copy.deepcopy(state), t, {**options, "weight_decay": decay})
    ratio = 1.0
    if theta.ndim > 1:
        norms = {"theta_norm": length([theta]), "g_norm": length([g]), "direction_norm": length([whole])}
        ratio = base.ratio(**norms, decay_norm=decay * norms["theta_norm"], options=options)
    lr = options["lr"]
    if entry.textbook == "LAMB":
        return -lr * ratio * (whole - decay * theta), -lr * ratio * decay * theta
    held = options["momentum"] * state.get("momentum_buffer", 0.0)
    inside = lr if options["lr_in_momentum"] else 1.0
    outside = 1.0 if options["lr_in_momentum"] else lr
    return -outside * (held + inside * ratio * g), -outside * inside * ratio * decay * theta


@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda x: getattr(x, "name", x))
def test_the_change_is_split_into_what_the_gradient_and_what_decay_made(entry, variant):
    recording, history = followed(entry, entry.variants[variant].options)
    decayed = False
    for row, (before, after, grads, textbook, _) in enumerate(history):
        for layer, names in LAYERS.items():
            found = recording.records[row]["layers"][layer]
            split = [parts(entry, textbook, n, grads[n]) for n in names]
            assert found["gradient_part"] == pytest.approx(length(g for g, _ in split), rel=1e-9)
            assert found["decay_part"] == pytest.approx(length(d for _, d in split), rel=1e-6, abs=1e-15)
            decayed |= found["decay_part"] > 0
            slow = [after[n] - before[n] - sum(s) for n, s in zip(names, split, strict=True)]
            assert found.get("slow_part", 0.0) == pytest.approx(length(slow), abs=1e-12)
    assert decayed == bool(entry.variants[variant].options.get("weight_decay") or entry.name == "AdamW")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p, lr=0.01, weight_decay=3.0),
        lambda p: optim.RMSprop(p, lr=0.01, weight_decay=0.3, centered=True, momentum=0.9, eps=1e-2),
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.3, clip=clipping.by_value(0.01)),
        lambda p: optim.Lion(p, lr=0.01, weight_decay=0.3, maximize=True),
        lambda p: optim.LAMB(p, lr=0.01, weight_decay=0.3),
    ],
)
def test_a_layer_is_split_as_each_of_its_weights_is_explained(make):
    model = network()
    optimizer = make(model.named_parameters())
    with study.Recorder(model, optimizer, every=1, probe=False) as recorder, optimizer.watch():
        for step in range(1, 4):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            before = arrays(model)
            optimizer.step()
    after = arrays(model)
    for layer, names in LAYERS.items():
        found = recorder.recording.records[-1]["layers"][layer]
        decay = {n: np.zeros_like(before[n]) for n in names}
        for name in names:
            for index in np.ndindex(before[name].shape):
                decay[name][index] = optimizer.explain(name, index).parts["decay"]
        assert found["decay_part"] == pytest.approx(length(decay.values()), rel=1e-9)
        rest = [after[n] - before[n] - decay[n] for n in names]
        assert found["gradient_part"] == pytest.approx(length(rest), rel=1e-9)


def test_l2_that_outweighs_the_gradient_in_adam_makes_the_step():
    """Adam would take a step of the same length without decay, which says nothing about the step that it took."""
    params = leaves({"a.weight": np.array([1.0, -2.0, 3.0])}, np.float64)
    optimizer = optim.Adam(list(params.items()), lr=0.1, weight_decay=1.0)
    with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
        set_gradients(params, {"a.weight": np.array([0.01, -0.02, 0.03])})
        optimizer.step()
    found = recorder.recording.records[0]["layers"]["a"]
    assert found["update_norm"] == pytest.approx(0.1 * math.sqrt(3))
    assert found["decay_part"] == pytest.approx(0.1 * math.sqrt(3) / 1.01)
    assert found["gradient_part"] == pytest.approx(0.1 * math.sqrt(3) * 0.01 / 1.01)


# The rate of each element after step t, from the textbook's state s before it and after it.
@pytest.mark.parametrize("scope", ["global", "layer", "tensor", "unit"])
def test_each_layer_is_split_with_the_norms_of_its_own_ranges(scope):
    model = network()
    optimizer = optim.SGD(model.named_parameters(), lr=0.1, weight_decay=0.2, clip=clipping.by_norm(0.1, scope))
    with study.Recorder(model, optimizer, every=1, probe=False) as recorder:
        loss_of(model, 1).backward()
        before, grads = arrays(model), {name: p.grad.data.copy() for name, p in model.named_parameters()}
        optimizer.step()

    def clipped(layer, name):
        """The gradient of one parameter after the clip, worked out from the definition of the scope."""
        within = {"global": list(grads), "layer": LAYERS[layer], "tensor": [name]}
        if scope == "unit":
            norms = np.linalg.norm(grads[name], axis=-1, keepdims=True) if grads[name].ndim > 1 else None
            norms = np.linalg.norm(grads[name]) if norms is None else norms
        else:
            norms = length(grads[each] for each in within[scope])
        return grads[name] * np.minimum(1.0, 0.1 / (norms + 1e-6))

    for layer, names in LAYERS.items():
        found = recorder.recording.records[0]["layers"][layer]
        assert found["gradient_part"] == pytest.approx(0.1 * length(clipped(layer, name) for name in names), rel=1e-9)
        assert found["decay_part"] == pytest.approx(0.1 * 0.2 * length(before[name] for name in names), rel=1e-9)


def adam_rate(o, s, before, t):
    v = s.get("max_exp_avg_sq", s["exp_avg_sq"])
    return o["lr"] / (np.sqrt(v / (1 - o["betas"][1] ** t)) + o["eps"])


def radam_rate(o, s, before, t):
    beta2 = o["betas"][1]
    top = 2 / (1 - beta2) - 1
    rho = top - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= o["threshold"]:
        return np.full_like(s["exp_avg"], o["lr"])
    rectified = math.sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho))
    return o["lr"] * rectified * math.sqrt(1 - beta2**t) / (np.sqrt(s["exp_avg_sq"]) + o["eps"])


def rms_rate(o, s, before, t):
    variance = s["square_avg"] - s["grad_avg"] ** 2 if o["centered"] else s["square_avg"]
    return o["lr"] / (np.sqrt(np.maximum(variance, 0)) + o["eps"])


def delta_rate(o, s, before, t):
    return o["lr"] * np.sqrt(before.get("acc_delta", 0.0) + o["eps"]) / np.sqrt(s["square_avg"] + o["eps"])


RATES = {
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "LAMB"), adam_rate),
    "RAdam": radam_rate,
    "RMSprop": rms_rate,
    "Adadelta": delta_rate,
    "Adagrad": lambda o, s, b, t: o["lr"] / (1 + (t - 1) * o["lr_decay"]) / (np.sqrt(s["sum"]) + o["eps"]),
    "Adamax": lambda o, s, b, t: o["lr"] / s["exp_inf"],
    "AdaBelief": lambda o, s, b, t: o["lr"] / (np.sqrt(s["exp_avg_var"] / (1 - o["betas"][1] ** t)) + o["eps"]),
}


@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda x: getattr(x, "name", x))
def test_effective_rates_are_those_of_the_textbook(entry, variant):
    recording, history = followed(entry, entry.variants[variant].options)
    for row, (_, _, grads, earlier, later) in enumerate(history):
        base, options = both(later), both(later).groups[0][1]
        for layer, names in LAYERS.items():
            rate = RATES.get(entry.textbook, lambda o, s, b, t: np.full_like(s, o["lr"]))
            rates = [
                rate(options, base.state[n] if entry.textbook in RATES else grads[n], both(earlier).state[n], row + 1)
                for n in names
            ]
            quantiles = np.quantile(np.concatenate([r.ravel() for r in rates]), recording.header["quantiles"])
            np.testing.assert_allclose(recording.layer(layer, "effective_rate")[row], quantiles, rtol=1e-9)


@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda x: getattr(x, "name", x))
def test_the_signal_is_the_unbiased_first_moment_over_the_root_of_the_second(entry, variant):
    recording, history = followed(entry, entry.variants[variant].options)
    slots = entry.variants[variant].slots
    second = next((s for s in ("max_exp_avg_sq", "exp_avg_sq", "exp_avg_var", "exp_inf") if s in slots), None)
    assert ("signal" in recording.header) == (second is not None and "exp_avg" in slots)
    for row, (_, _, _, _, later) in enumerate(history):
        for layer, names in LAYERS.items():
            found = recording.records[row]["layers"][layer]
            if second is None or "exp_avg" not in slots:
                assert "signal" not in found
                continue
            beta1, beta2 = later.groups[0][1]["betas"]
            values = []
            for state in (later.state[n] for n in names):
                v = state[second]
                root = v if second == "exp_inf" else np.sqrt(v / (1 - beta2 ** (row + 1)))
                values.append(np.abs(state["exp_avg"] / (1 - beta1 ** (row + 1)) / root).ravel())
            expected = np.quantile(np.concatenate(values), recording.header["quantiles"])
            np.testing.assert_allclose(found["signal"], expected, rtol=1e-9)


@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda x: getattr(x, "name", x))
def test_the_norm_of_every_slot_is_that_of_the_textbooks_state(entry, variant):
    recording, history = followed(entry, entry.variants[variant].options)
    slots = [s for s in entry.variants[variant].slots if not s.startswith("slow")]
    for row, (_, _, _, _, later) in enumerate(history):
        if isinstance(later, Lookahead) and later.counter % later.k == 0:
            continue  # the momentum is pulled back as well, behind the fast step that is recorded
        for layer, names in LAYERS.items():
            found = recording.records[row]["layers"][layer].get("state_norm", {})
            assert list(found) == slots
            for slot in slots:
                assert found[slot] == pytest.approx(length(both(later).state[n][slot] for n in names), rel=1e-9)


@pytest.mark.parametrize("variant", ["default", "decay"])
def test_corrections_and_rectification_are_those_of_the_step(variant):
    options = entry_named("RAdam").variants[variant].options
    recording, _ = followed(entry_named("RAdam"), options)
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    for t in range(1, STEPS + 1):
        found = recording.records[t - 1]["layers"]["0"]["scalars"]
        top = 2 / (1 - beta2) - 1
        rho = top - 2 * t * beta2**t / (1 - beta2**t)
        assert found["rho"] == pytest.approx(rho, rel=1e-9)
        assert found["debias1"] == pytest.approx(1 / (1 - beta1**t), rel=1e-12)
        assert found["rectified"] == (rho > 5)
        assert (found["rectification"] > 0) == (rho > 5)
    adam, _ = followed(entry_named("Adam"), {"lr": 0.05, "betas": (0.7, 0.93)})
    np.testing.assert_allclose(adam.layer("2", "scalars.debias2"), 1 / (1 - 0.93 ** np.arange(1, STEPS + 1)))
    np.testing.assert_allclose(adam.layer("2", "scalars.lr"), 0.05)


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_trust_ratios_are_those_of_the_norms_and_clamps_are_marked(name):
    entry = entry_named(name)
    recording, history = followed(entry, entry.variants["default"].options)
    for row, (before, after, grads, textbook, _) in enumerate(history):
        for layer, names in LAYERS.items():
            found = recording.records[row]["layers"][layer]["trust"]
            weight = names[0]
            assert list(found) == [weight], "biases are excluded from adaptation"
            options = textbook.groups[0][1]
            state, t = copy.deepcopy(textbook.state[weight]), textbook.age[weight] + 1
            direction = textbook.direction(before[weight], grads[weight], state, t, options)
            norms = {"theta_norm": length([before[weight]]), "g_norm": length([grads[weight]])}
            ratio = textbook.ratio(**norms, decay_norm=0.0, direction_norm=length([direction]), options=options)
            assert found[weight]["ratio"] == pytest.approx(ratio, rel=1e-9)
            assert found[weight]["param_norm"] == pytest.approx(norms["theta_norm"], rel=1e-9)
            assert not found[weight]["clamped"]
            alone = length([after[weight] - before[weight]]) / length([before[weight]])
            assert found[weight]["update_ratio"] == pytest.approx(alone, rel=1e-9)
    assert recording.trust_ratios()["0.weight"].shape == (STEPS,)
    if name == "LAMB":
        clamped, history = followed(entry, {"lr": 0.05, "phi": (0.0, 1.0)})
        for row, (before, *_) in enumerate(history):
            found = clamped.records[row]["layers"]["2"]["trust"]["2.weight"]
            assert found["clamped"] == (length([before["2.weight"]]) > 1.0)


def test_the_slow_weights_distance_is_that_before_they_are_synchronized():
    entry = entry_named("Lookahead")
    recording, history = followed(entry, entry.variants["default"].options)
    for row, (_, _, grads, earlier, later) in enumerate(history):
        earlier.base.step(grads)  # the fast step alone
        for layer, names in LAYERS.items():
            distance = length(earlier.base.params[n] - earlier.slow[n] for n in names)
            assert recording.records[row]["layers"][layer]["slow_distance"] == pytest.approx(distance, rel=1e-9)
        assert later.counter == row + 1
    assert recording.optimizer == "Lookahead(SGD)"


def test_the_table_of_quantities_and_the_recorded_ones_are_the_same():
    found = {"nonfinite"}  # only where a value is not finite
    for name in ("Lookahead", "LAMB"):
        entry = entry_named(name)
        recording, _ = followed(entry, entry.variants["default"].options)
        found |= {name for record in recording.records for layer in record["layers"].values() for name in layer}
    assert found == {each.name for each in LAYER}


# --- clips -----------------------------------------------------------------------------------------------------------


def test_clips_say_norm_before_after_factor_and_the_share_of_steps():
    model = network()
    optimizer = optim.SGD(model.named_parameters(), lr=0.01, clip=clipping.by_global_norm(8.0))
    norms = []
    with study.Recorder(model, optimizer, every=4, probe=False) as recorder:
        for step in range(1, 13):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            norms.append(length(p.grad.data for p in model.parameters()))
            optimizer.step()
    acted = [n > 8.0 - 1e-6 for n in norms]
    assert 0 < sum(acted) < 12, "the test needs steps of both kinds"
    entries = recorder.recording.clips()
    assert [e["step"] for e in entries] == [1, 4, 8, 12]
    for entry, first in zip(entries, (0, 1, 4, 8), strict=True):
        last = entry["step"] - 1
        assert entry["norm_before"] == pytest.approx(norms[last])
        factor = min(1.0, 8.0 / (norms[last] + 1e-6))
        assert entry["factor"] == pytest.approx(factor)
        assert entry["norm_after"] == pytest.approx(factor * norms[last])
        assert entry["steps"] == last + 1
        assert entry["acted_steps"] == sum(acted[: last + 1])
        assert entry["share"] == pytest.approx(np.mean(acted[first : last + 1]))
        assert entry["thresholds"] == {"max_norm": 8.0}


def test_clips_of_units_and_by_value_and_in_a_row_are_counted_too():
    model = network()
    clips = [clipping.adaptive(0.05), clipping.by_value(0.5), clipping.by_norm(0.2, "layer", order=1)]
    optimizer = optim.SGD(model.named_parameters(), lr=0.01, clip=clips)
    acted = []
    with study.Recorder(model, optimizer, every=5, probe=False) as recorder:
        for step in range(1, 11):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
            acted.append([bool(report.acted.any()) for report in optimizer.clip_reports()])
    for number in (0, 2):
        entries = recorder.recording.clips(number)
        assert [e["steps"] for e in entries] == [1, 5, 10]
        assert [e["acted_steps"] for e in entries] == [sum(a[number] for a in acted[:n]) for n in (1, 5, 10)]
    assert [e["steps"] for e in recorder.recording.clips(1)] == [1, 2, 3], "without a norm, recorded steps alone"
    entry = recorder.recording.clips(2)[-1]
    assert entry["ranges"] == 2
    assert list(entry["by_range"]) == ["0", "2"]
    assert entry["by_range"][entry["range"]][2] == min(factor for _, _, factor in entry["by_range"].values())


# --- an optimizer of one's own, and awkward values ------------------------------------------------------------------


@rule(state=("exp_avg_sq",), scalars=lambda step, beta2: {"debias2": 1 / (1 - beta2**step)})
def scale_by_root(update, exp_avg_sq, *, beta2, debias2, eps):
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = update / (sqrt(debias2 * exp_avg_sq) + eps)
    return update, exp_avg_sq


@rule
def shrink_towards_zero(update, param, update_norm, *, lr, strength):
    update = update / update_norm if update_norm > 1 else update
    param = param - lr * (update + strength * param if param > 0 else update)
    return param


class WithMeaning(Chain):
    def meaning(self):
        return optim.Meaning(rate="lr / (sqrt(debias2 * exp_avg_sq) + eps)")


def test_an_optimizer_of_ones_own_is_read_by_the_meaning_that_it_declares():
    values = {"a.weight": np.random.default_rng(0).normal(size=(3, 2)), "a.bias": np.ones(3)}
    params = leaves(values, np.float64)
    chain = (scale_by_root, norm("update", "layer"), shrink_towards_zero)
    optimizer = WithMeaning(params, *chain, lr=0.1, strength=0.3, beta2=0.9, eps=1e-3)
    grads = {"a.weight": np.full((3, 2), 0.5), "a.bias": np.array([1.0, 2.0, 3.0])}
    with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
        set_gradients(params, grads)
        optimizer.step()
    found = recorder.recording.records[0]["layers"]["a"]
    flat = np.concatenate([grads[n].ravel() for n in grads])
    theta = np.concatenate([values[n].ravel() for n in grads])
    rates = 0.1 / (np.abs(flat) + 1e-3)
    np.testing.assert_allclose(found["effective_rate"], np.quantile(rates, recorder.recording.header["quantiles"]))
    assert found["decay_part"] == pytest.approx(0.1 * 0.3 * np.linalg.norm(np.maximum(theta, 0)))
    direction = flat / (np.abs(flat) + 1e-3)
    assert found["gradient_part"] == pytest.approx(0.1 * np.linalg.norm(direction) / np.linalg.norm(direction))
    assert recorder.recording.header["effective_rate"] == "lr / (√(debias2 · exp_avg_sq) + eps)"


@rule(state=("exp_avg", "sum"))
def average_twice(update, exp_avg, sum, *, beta):
    """Slots with the names of Adam's average and AdaGrad's sum, which are neither."""
    exp_avg = beta * exp_avg + update
    sum = beta * sum + exp_avg
    update = sum
    return update, exp_avg, sum


@rule(state=("size", "drift"))
def divide_by_size(update, size, drift, *, beta, floor):
    drift = beta * drift + (1 - beta) * update
    update = update / (size + floor)
    size = size + abs(drift)
    return update, size, drift


class DivideBySize(optim.Optimizer):
    lr: float = optim.option(0.1)
    beta: float = optim.option(0.5)
    floor: float = optim.option(2.0)

    def chain(self):
        return [divide_by_size, optim.apply_update]

    def meaning(self):
        return optim.Meaning(rate="lr / (size_before + floor)", mean="drift / (1 - beta**step)", root="size")


class AdamWithOtherState(optim.Adam):
    def chain(self):
        return [scale_by_root.renamed({"exp_avg_sq": "exp_avg"}), optim.apply_update]


def recorded(optimizer, params, steps):
    with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
        for grads in steps:
            set_gradients(params, grads)
            optimizer.step()
    return recorder.recording


@pytest.mark.parametrize(
    "make",
    [
        lambda params: Chain(params, average_twice, optim.apply_update, lr=0.1, beta=0.9),
        lambda params: optim.Optimizer(
            params.items(), {"lr": 0.1, "beta": 0.9}, chain=[average_twice, optim.apply_update]
        ),
        lambda params: AdamWithOtherState(params.items()),
    ],
    ids=["class", "chain", "subclass of Adam with another chain"],
)
def test_state_of_unknown_meaning_is_not_taken_for_moments(make):
    params = leaves({"a.weight": np.ones((3, 2))}, np.float64)
    recording = recorded(make(params), params, [{"a.weight": np.full((3, 2), 0.5)}] * 2)
    assert not {"effective_rate", "signal"} & {*recording.header}
    for record in recording.records:
        assert not {"effective_rate", "signal"} & {*record["layers"]["a"]}
        assert record["layers"]["a"]["update_norm"] > 0
    texts = [text.get_text() for ax in study.plots.optimizer_state(recording).axes for text in ax.texts]
    assert any("does not declare the meaning of its state" in text for text in texts)


def test_slots_of_any_name_are_read_by_the_declared_formulas():
    params = leaves({"a.weight": np.ones(4)}, np.float64)
    optimizer = DivideBySize(params.items())
    steps = [np.array([0.0, 1.0, -2.0, 3.0]), np.array([0.0, -1.0, 5.0, 3.0])]
    recording = recorded(optimizer, params, [{"a.weight": g} for g in steps])
    assert recording.header["effective_rate"] == "lr / (size_before + floor)"
    assert recording.header["signal"] == "|drift / (1 - beta**step)| / size"
    size = drift = np.zeros(4)
    for t, (g, record) in enumerate(zip(steps, recording.records, strict=True), start=1):
        found, quantiles = record["layers"]["a"], recording.header["quantiles"]
        np.testing.assert_allclose(found["effective_rate"], np.quantile(0.1 / (size + 2.0), quantiles))
        drift = 0.5 * drift + 0.5 * g
        size = size + np.abs(drift)
        share = np.abs(drift) / (1 - 0.5**t) / np.where(size > 0, size, 1.0)  # 0 where nothing was seen
        np.testing.assert_allclose(found["signal"], np.quantile(share, quantiles))


def test_formulas_that_cannot_be_read_are_refused():
    with pytest.raises(ValueError, match=r"'lr /' is not a formula"):
        optim.Meaning(rate="lr /")
    for formula in ("lr.real", "lr[0]", "open('file')", "lambda: lr", "sqrt(x=lr)", "0 < lr < 1", "'lr'", "lr; lr"):
        with pytest.raises(ValueError, match="is not a formula"):
            optim.Meaning(rate=formula)
    with pytest.raises(ValueError, match="mean and root go together"):
        optim.Meaning(rate="lr", mean="exp_avg")


def test_nan_and_infinity_are_counted_and_shown():
    values = {"a.weight": np.ones((2, 3)), "b.weight": np.ones((2, 2))}
    params = leaves(values)
    optimizer = optim.Adam(list(params.items()))
    bad = np.array([[np.nan, np.inf, 1.0], [-np.inf, np.nan, 1.0]])
    with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
        set_gradients(params, {"a.weight": bad, "b.weight": np.ones((2, 2))})
        optimizer.step()
        set_gradients(params, {"a.weight": np.ones((2, 3)), "b.weight": np.ones((2, 2))})
        optimizer.step()
    first, second = (record["layers"]["a"] for record in recorder.recording.records)
    assert first["nonfinite"]["gradient"] == [2, 2]
    assert "parameter" not in first["nonfinite"]
    assert second["nonfinite"]["parameter"] == [4, 0]
    assert "gradient" not in second["nonfinite"]
    assert math.isnan(first["gradient_norm"])
    assert np.isfinite(first["effective_rate"]).all(), "quantiles are of what is finite"
    assert "nonfinite" not in recorder.recording.records[1]["layers"]["b"]


def test_parameters_without_a_gradient_are_still():
    params = leaves({"a.weight": np.ones((2, 3)), "a.bias": np.ones(2), "b.weight": np.ones((2, 2))}, np.float64)
    optimizer = optim.AdamW(list(params.items()), lr=0.1)
    with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
        set_gradients(params, {"a.weight": np.ones((2, 3)), "a.bias": None, "b.weight": None})
        optimizer.step()
    a, b = (recorder.recording.records[0]["layers"][name] for name in "ab")
    assert a["gradient_norm"] == pytest.approx(math.sqrt(6))
    assert a["parameter_norm"] == pytest.approx(math.sqrt(8))
    assert a["decay_part"] == pytest.approx(0.1 * 0.01 * math.sqrt(6))
    assert "gradient_norm" not in b
    assert b["update_norm"] == 0
    assert b["update_ratio"] == 0
    assert math.isnan(recorder.recording.layer("b", "gradient_norm")[0])


def test_quantiles_of_large_layers_are_of_an_even_sample():
    params = leaves({"a.weight": np.zeros((100, 100))}, np.float64)
    optimizer = optim.Adagrad(list(params.items()), lr=1.0, eps=0.0)
    grad = np.arange(1.0, 10001.0).reshape(100, 100)
    with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
        set_gradients(params, {"a.weight": grad})
        optimizer.step()
    found = recorder.recording.layer("a", "effective_rate")[0]
    np.testing.assert_allclose(found, np.quantile(1 / grad, recorder.recording.header["quantiles"]), rtol=0.01)


def test_the_formulas_of_rates_are_the_ones_that_the_textbook_steps_with():
    """A wrong oracle above would be as wrong as the code: the rate times the unbiased moment is Adam's change."""
    theta, g, state = np.array([1.0, 2.0]), np.array([0.3, -0.7]), {}
    options = {"lr": 0.05, "betas": (0.7, 0.93), "eps": 1e-3}
    change = optim_formulas.adam(theta, g, state, 1, **options) - theta
    rate = adam_rate(options, state, {}, 1)
    np.testing.assert_allclose(change, -rate * state["exp_avg"] / (1 - 0.7))
