"""Findings about the steps: parameters that do not move, the size of updates, clips, decay and trust ratios."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from ..records.recording import Recording
from .finding import FEW_RECORDS, FEW_STEPS, Finding, goes_well, is_scale_free, listed, middle, named, only, rounded

# Median update-to-weight ratios that are too large; the second even if the loss falls well.
TOO_LARGE, TOO_LARGE_ANYWAY = 5e-2, 0.2
# The part of the weights that decay leaves if it outweighs learning, and its part of the gradient's if it balances it.
SHRUNK, BALANCED = 0.2, 0.5
# A trust ratio and a growth of the weights that together show a step that feeds on the weights it makes.
FEEDING = 5.0


def left_out(recording: Recording) -> Iterator[Finding]:
    """Parameters of the model that the optimizer does not hold and nothing else moves."""
    names = recording.records[-1].get("left_out", [])
    if names:
        sentence = (
            f"{listed(names)} {'is' if len(names) == 1 else 'are'} not in the optimizer, and nothing moves them; make "
            "the optimizer from model.parameters(), or freeze them by requires_grad_(False)"
        )
        yield Finding("warning", "left out", None, sentence, {"parameters": len(names)})


def no_update(recording: Recording) -> Iterator[Finding]:
    """Layers that have a gradient and do not move at all."""
    stepped = np.array([record.get("stepped", True) for record in recording.records])
    found, rates = [], []
    for layer in recording.layers:
        moved, gradient = (recording.layer(layer, what)[stepped] for what in ("update_norm", "gradient_norm"))
        if moved.size and not moved.any() and (gradient > 0).all():
            found.append(layer)
            rates.append(float(recording.layer(layer, "scalars.lr")[stepped][-1]))
    if not found:
        return
    every = len(found) == len(recording.layers) > 1
    reason = "its learning rate is 0" if not any(rates) else "each change is lost in rounding: raise the learning rate"
    sentence = (
        f"{'every layer' if every else named(found)} did not move in any of {stepped.sum()} records, although there "
        f"was a gradient: {reason}"
    )
    yield Finding("warning", "no update", only(found), sentence, {"records": int(stepped.sum()), "lr": max(rates)})


def ratios(recording: Recording) -> Iterator[Finding]:
    """Updates far too large for the weights; after few steps, only those larger than the weights."""
    few, bad = recording.steps[-1] < FEW_STEPS, not goes_well(recording)
    late = np.full(len(recording), True) if few else recording.steps >= FEW_STEPS  # the first updates are often large
    large = {}
    for layer in recording.layers:
        ratio = recording.layer(layer, "update_ratio")
        ratio = ratio[np.isfinite(ratio) & late]
        if not ratio.size or not recording.layer(layer, "gradient_norm").any():
            continue
        if (typical := middle(ratio)) > (1 if few else TOO_LARGE if bad else TOO_LARGE_ANYWAY):
            large[layer] = typical
        elif bad and not few and (once := _early(recording, layer)):
            large[layer] = once
    if not large:
        return
    typical = middle(list(large.values()))
    everywhere = len(large) == len(recording.layers) > 1
    where, group = "" if everywhere else " there", ""
    if alone := _moved_alone(recording, large):
        where, group = f" of {listed(alone)}", ", in a param group without the others, which trust ratios hold back"
    sentence = (
        f"{'every layer' if everywhere else named(large)}: updates are too large: one step changes {typical:.2g} of "
        f"the weights{'' if typical > 1 else f', so about {1 / typical:.0f} steps replace them'}; halve the learning "
        f"rate{where} until the loss falls{group}"
    )
    yield Finding("warning", "updates too large", only(large), sentence, {"update_ratio": typical})


def _early(recording: Recording, layer: str) -> float:
    """The largest ratio of the first steps if it was too large, since it may prevent all later movement; else 0."""
    first, *ratios = recording.layer(layer, "update_ratio")[: FEW_RECORDS + 1].tolist()
    large = [ratio for ratio in ratios if TOO_LARGE_ANYWAY < ratio < math.inf]
    return max(large, default=first if 1 < first < math.inf else 0.0)


def _moved_alone(recording: Recording, layers: Collection[str]) -> list[str]:
    """The parameters without a trust ratio in these layers, if those with one hardly move."""
    ratios: dict[str, list[float]] = {}
    for record in recording.records:
        for layer in layers:
            for name, trust in record["layers"].get(layer, {}).get("trust", {}).items():
                ratios.setdefault(name, []).append(trust.get("update_ratio", math.nan))
    adapted = [value for values in ratios.values() for value in values if math.isfinite(value)]
    if not adapted or middle(adapted) > TOO_LARGE:
        return []
    return [n for layer in layers for n in recording.header["layers"][layer].get("tensors", []) if n not in ratios]


def clips(recording: Recording) -> Iterator[Finding]:
    """A clip that acts on most steps, so that it, not the learning rate, sets their length; if it sets a length."""
    if is_scale_free(recording):
        return
    for number in range(max(len(record.get("clips", [])) for record in recording.records)):
        entries = recording.clips(number)
        last = entries[-1]
        acted, steps = last["acted_steps"], last["steps"]
        hit = middle([e["acted_ranges"] / max(e["ranges"], 1) for e in entries])
        factor, norm = middle([e["factor"] for e in entries]), middle([e["norm_before"] for e in entries])
        if steps < FEW_STEPS or acted < 0.5 * steps or (last["ranges"] > 1 and hit < 0.5) or factor > 0.95:
            continue
        limits = ", ".join(f"{name} {value:g}" for name, value in last["thresholds"].items())
        part = f", {hit:.0%} of the {last['ranges']} {last['scope']}s" if last["ranges"] > 1 else ""
        # An adaptive threshold is a share of the parameter's norm, so the gradient's norm does not suggest one.
        high = float(np.quantile([e["norm_before"] for e in entries], 0.9))
        to = f" to {rounded(high, up=True)} or more" if "clip_factor" not in last["thresholds"] else ""
        sentence = (
            f"clipping acted on {acted / steps:.0%} of steps{part}: in effect it sets your learning rate "
            f"({last['title']}, {limits}; median norm {norm:.3g}, median factor {factor:.2g}). Raise the threshold{to} "
            "and tune the learning rate with it, so that the clip is an exception"
        )
        evidence = {"steps": steps, "acted_steps": acted, "median_norm": norm, "median_factor": factor}
        yield Finding("warning", "clipping", None, sentence, evidence | last["thresholds"])


def decay(recording: Recording) -> Iterator[Finding]:
    """Layers that decay holds down, while the loss does not fall.

    Where decay moves the weights as far as the gradient does, they are in equilibrium (Kosson, Messmer and Jaggi,
    arXiv 2305.17212), as in every long run with decay, good or bad; so that alone is not a finding.
    """
    if goes_well(recording):
        return
    half = len(recording) // 2
    for layer in recording.layers:
        decay, gradient = recording.layer(layer, "decay_part"), recording.layer(layer, "gradient_part")
        size = recording.layer(layer, "parameter_norm")
        ok = np.isfinite(decay) & np.isfinite(gradient) & (gradient > 0)
        if ok.sum() < FEW_RECORDS or not decay[ok].all():
            continue
        share = middle((decay[ok] / gradient[ok])[ok.sum() // 2 :])
        if share > BALANCED and size[-1] < 1.1 * size[half]:
            what = f"its weights have not grown since step {recording.steps[half]:,}, where decay balances the gradient"
        elif size[-1] < SHRUNK * size[0]:
            what = f"its weights have shrunk to {size[-1] / size[0]:.2g} of their size"
        else:
            continue
        sentence = f"layer {layer}: {what}, and the loss does not fall; divide weight_decay by 10"
        evidence = {"decay_over_gradient": share, "first_norm": float(size[0]), "last_norm": float(size[-1])}
        yield Finding("warning", "decay", layer, sentence, evidence)


def warm_up(recording: Recording) -> Iterator[Finding]:
    """RAdam before its second moment can be trusted."""
    layer = next(
        (name for name in recording.layers if "scalars" in recording.records[-1]["layers"].get(name, {})), None
    )
    if layer is None or recording.layer(layer, "scalars.rectified")[-1] != 0:
        return
    rho = float(recording.layer(layer, "scalars.rho")[-1])
    sentence = (
        f"not rectified yet at step {recording.steps[-1]:,} (rho_t = {rho:.2g}): so far every step was a "
        "plain momentum step, without a rate per weight"
    )
    yield Finding("note", "not rectified", None, sentence, {"step": int(recording.steps[-1]), "rho": rho})


def trust(recording: Recording) -> Iterator[Finding]:
    """Trust ratios that grow with the weights, or are set by a bound."""
    ratios, found = recording.trust_ratios(), {}
    for layer in recording.layers:
        size = recording.layer(layer, "parameter_norm")
        own = [ratios[name] for name in recording.header["layers"][layer].get("tensors", []) if name in ratios]
        largest = max((float(np.nanmax(each)) for each in own if np.isfinite(each).any()), default=0.0)
        if largest > FEEDING and size[0] > 0 and size[-1] / size[0] > FEEDING:
            found[layer] = (largest, float(size[-1] / size[0]))
    if found:
        worst = max(found, key=lambda layer: found[layer])
        largest, grown = found[worst]
        sentence = (
            f"{named(found)}: the trust ratio feeds on the weights: they grew by a factor of {grown:.3g}, and each "
            f"step with them, up to a ratio of {largest:.3g} in layer {worst}; halve the learning rate, bound "
            "the ratio by phi=(0, 10), or let the weights decay"
        )
        evidence = {"trust_ratio": largest, "growth": grown}
        yield Finding("warning", "trust ratio", only(found), sentence, evidence)
    entries: dict[str, list[bool]] = {}
    for record in recording.records:
        for layer in record["layers"].values():
            for name, trust in layer.get("trust", {}).items():
                entries.setdefault(name, []).append(bool(trust.get("clamped")))
    for name, clamped in entries.items():
        if len(clamped) >= FEW_RECORDS and sum(clamped) >= 0.5 * len(clamped):
            sentence = (
                f"{name}: its norm was clamped in {sum(clamped)} of {len(clamped)} records, so the bound and not the "
                "weight sets its trust ratio; widen phi"
            )
            yield Finding("note", "clamped", name, sentence, {"clamped": sum(clamped), "records": len(clamped)})
