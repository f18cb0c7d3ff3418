"""Planted faults are found and named, in a sentence with its evidence; a healthy run has none."""

import math
import re

import numpy as np
import pytest
from plot_tools import PLOTS

import minigrad
from minigrad import clipping, data, manual_seed, nn, optim, study, training
from minigrad.study.findings.finding import goes_well

DIGITS, _ = data.stratified_split(data.load_digits(), 0.2, 0)
HEALTHY = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=3e-3),
    "AdamW": lambda p: optim.AdamW(p, lr=3e-3, clip=clipping.by_global_norm(5.0)),
    "RMSprop": lambda p: optim.RMSprop(p, lr=1e-3),
    "RAdam": lambda p: optim.RAdam(p, lr=3e-3),
    "LAMB": lambda p: optim.LAMB(p, lr=1e-2),
    "Lookahead": lambda p: optim.Lookahead(optim.SGD(p, lr=0.1, momentum=0.9)),
}


def train(*arguments, **options):
    return study.findings(record(*arguments, **options))


def record(optimizer, change=None, sizes=(64, 64, 10), steps=90, **options):
    manual_seed(0)
    model = nn.MLP(list(sizes), **options)
    if change is not None:
        change(model)
    made = optimizer(model.parameters()) if not isinstance(optimizer, str) else HEALTHY[optimizer](model.parameters())
    loader = data.DataLoader(DIGITS, batch_size=32, shuffle=True, seed=0)
    with study.Recorder(model, made, every=10, probe=DIGITS.features[::12]) as recorder:
        for x, y in (batch for _ in range(-(-steps // len(loader))) for batch in loader):
            made.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            recorder.note(loss)
            loss.backward()
            made.step()
    return recorder.recording


def found(findings, kind, layer=None):
    """The one finding of this kind and layer."""
    (finding,) = [f for f in findings if f.kind == kind and f.layer == layer]
    return finding


def faults(*arguments, **options):
    """The findings except that a run as short as these was still falling."""
    return [each for each in train(*arguments, **options) if each.kind != "still falling"]


@pytest.mark.parametrize("optimizer", HEALTHY)
def test_a_healthy_run_has_no_findings(optimizer):
    assert faults(optimizer) == []


def test_a_healthy_run_of_three_layers_with_another_activation_has_none():
    assert faults("Adam", sizes=(64, 48, 32, 10), activation="tanh") == []


def test_logits_that_grow_a_hundred_times_with_their_weights_do_not_explode():
    def begin_small(model):
        model[6].weight.data = model[6].weight.data * 0.5

    run = record(lambda p: optim.Adam(p, lr=1e-2), begin_small, sizes=(64, 64, 32, 32, 10), steps=720)
    assert run.activation("6", "std")[-1] > 100 * run.activation("6", "std")[0]
    assert 2 < run.layer("6", "parameter_norm")[-1] / run.layer("6", "parameter_norm")[0] < 10
    assert study.findings(run) == []


def test_a_dead_layer_is_found():
    def kill(model):
        model[0].bias.data = model[0].bias.data - 100

    findings = train("Adam", kill)
    dead = found(findings, "dead units", "0")
    assert dead.severity == "error"
    assert dead.sentence.startswith("layer 0 is dead: 64 of 64 units never active (ReLU 1, 120 rows of the probe)")
    assert dict(dead.evidence) == {"units": 64, "rows": 120, "first_dead": 64, "dead": 64}
    assert not [f for f in findings if f.kind == "vanishing"], "a consequence"
    assert not [f for f in findings if f.kind == "updates too small"], "another"


def test_a_dead_layer_is_not_told_to_be_initialized_for_its_small_gradient():
    def nearly_kill(model):
        model[0].bias.data[:] = [1, *[-100] * 63]
        model[0].weight.data[0] = 1e-5
        model[2].weight.data[:, 0] = 1e-5

    findings = train(lambda p: optim.SGD(p, lr=1e-4), nearly_kill)
    assert found(findings, "dead units", "0").evidence["dead"] == 63
    assert [f for f in findings if f.kind == "vanishing"] == []


def test_units_that_die_are_counted():
    def dull(model):
        model[0].bias.data[:41] = -100

    finding = found(train("Adam", dull), "dead units", "0")
    assert finding.severity == "warning"
    assert finding.sentence.startswith("layer 0: 4")
    assert 41 <= finding.evidence["dead"] < 58


def test_a_layer_whose_weights_explode_is_found():
    def optimizer(parameters):
        first, second, third = ([p for p in parameters if p.layer == name] for name in ("0", "2", "4"))
        return optim.Adam([{"params": first}, {"params": second, "lr": 1.0}, {"params": third}], lr=1e-3)

    findings = train(lambda p: optimizer(list(p)), sizes=(64, 48, 32, 10))
    finding = found(findings, "exploding", "2")
    assert finding.severity == "warning", "it learns all the same"
    assert finding.evidence["last_norm"] > 10 * finding.evidence["first_norm"]
    assert not [f for f in findings if f.kind == "exploding" and f.layer != "2"]


def test_a_threshold_that_clips_every_step_is_found():
    findings = train(lambda p: optim.SGD(p, lr=1.0, clip=clipping.by_global_norm(0.05)))
    finding = found(findings, "clipping")
    assert finding.sentence.startswith("clipping acted on 100% of steps: in effect it sets your learning rate")
    assert finding.evidence["steps"] == finding.evidence["acted_steps"] == 90
    assert finding.evidence["max_norm"] == 0.05
    raised = float(re.search(r"Raise the threshold to (\S+) or more", finding.sentence)[1])
    assert finding.evidence["median_norm"] <= raised <= 2 * finding.evidence["median_norm"]
    assert finding.evidence["median_factor"] == pytest.approx(0.05 / finding.evidence["median_norm"], rel=0.5)


@pytest.mark.parametrize(
    ("made", "scale_free"),
    [
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), False),
        (lambda p: optim.SGD(p, lr=0.1, clip=clipping.by_global_norm(1e-3)), False),
        (lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, clip=clipping.by_global_norm(1e-3)), True),
        (lambda p: optim.Adam(p, lr=0.01, clip=clipping.adaptive(1e-3, exclude=["2"])), True),
        (lambda p: optim.RAdam(p, lr=0.01), True),
        (lambda p: optim.LAMB(p, lr=0.01), True),
        (lambda p: optim.Lookahead(optim.NAdam(p, lr=0.01)), True),
    ],
)
def test_a_clip_is_advice_and_a_finding_only_where_longer_gradients_make_longer_steps(made, scale_free):
    run = record(made, steps=20)
    assert run.header["scale_free"] is scale_free
    clipped = bool(run.clips())
    assert ("clipping" in [each.kind for each in study.findings(run)]) == (clipped and not scale_free)
    layer = {"gradient_norm": 1.0, "parameter_norm": 1.0, "update_ratio": 1e-3}
    rising = [{"mean_loss": loss, "layers": {"a": layer, "b": layer}} for loss in np.linspace(1, 9, 20)]
    (finding,) = study.findings(recording(*rising, scale_free=scale_free))
    assert ("clip" in finding.sentence) != scale_free


@pytest.mark.parametrize(("factor", "words"), [(60, "divide its weights by"), (0.01, "multiply its weights by")])
def test_a_layer_with_the_wrong_initial_scale_is_found(factor, words):
    def scale(model):
        model[2].weight.data = model[2].weight.data * factor

    findings = train("Adam", scale, sizes=(64, 48, 32, 10))
    finding = found(findings, "initial scale", "2")
    assert finding.severity == "error"
    assert words in finding.sentence
    assert finding.evidence["gain"] == pytest.approx(0.577 * factor, rel=0.5)
    assert [f.layer for f in findings if f.kind == "initial scale"] == ["2"]


@pytest.mark.parametrize("factor", [0.3, 5])
def test_a_scale_that_is_a_few_times_wrong_is_found(factor):
    def scale(model):
        model[2].weight.data = model[2].weight.data * factor

    finding = found(train("Adam", scale, sizes=(64, 48, 32, 10)), "initial scale", "2")
    assert finding.severity == "warning"
    assert finding.evidence["gain"] == pytest.approx(0.577 * factor, rel=0.2)


def test_weights_that_point_where_inputs_differ_have_no_wrong_scale():
    entry = {"gain": 3.0, "width": 4, "std": 1.0, "mean": 0.0, "low": -1.0, "high": 1.0}
    for norm, gain, kinds in ((6.0, 3.0, ["initial scale"]), (4.0, 3.0, []), (6.0, 2.4, [])):
        layers = {"a": {"parameter_norm": norm, "gradient_norm": 1.0}}
        activations = {"a": {**entry, "gain": gain}, "b": {**entry, "gain": 1.0}}
        findings = study.findings(recording({"activations": activations, "layers": layers}))
        assert [f.kind for f in findings if f.kind == "initial scale"] == kinds


def test_a_model_that_was_trained_before_has_no_wrong_scale_and_does_not_diverge():
    manual_seed(0)
    model = nn.MLP([64, 64, 64, 10])
    loader = data.DataLoader(DIGITS, batch_size=32, shuffle=True, seed=0)
    training.fit(model, optim.Adam(model.parameters(), lr=5e-3), loader, epochs=12)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    recorder = study.Recorder(model, optimizer, every=10)
    training.fit(model, optimizer, loader, epochs=3, callbacks=[recorder])
    assert (
        max(entry["gain"] for entry in recorder.recording.records[0]["activations"].values() if "gain" in entry) > 2.5
    )
    assert {f.kind for f in study.findings(recorder)} <= {"still falling"}


@pytest.mark.parametrize(("factor", "severity"), [(4, "warning"), (8, "error")])
def test_scales_that_are_wrong_in_every_layer_are_one_finding(factor, severity):
    def scale(model):
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.data = layer.weight.data * factor

    findings = train("Adam", scale, sizes=(64, *[32] * 11, 10), steps=10)
    (finding,) = [f for f in findings if f.kind == "initial scale"]
    assert (finding.severity, finding.layer) == (severity, None)
    # Each layer multiplies by its own gain, 0.58 times the factor, and a ReLU by about 0.6.
    assert finding.evidence["per_layer"] == pytest.approx(0.577 * 0.65 * factor, rel=0.15)
    assert finding.evidence["growth"] == pytest.approx(finding.evidence["per_layer"] ** 11)


def test_weights_that_began_far_too_small_grow_without_exploding():
    def shrink(model):
        model[0].weight.data = model[0].weight.data * 0.02

    findings = train(lambda p: optim.AdamW(p, lr=3e-3), shrink, sizes=(64, 48, 48, 10), steps=180)
    assert found(findings, "initial scale", "0").evidence["gain"] < 0.1
    assert [f.layer for f in findings if f.kind == "exploding"] == []


def test_saturated_units_are_found():
    def stretch(model):
        model[0].weight.data = model[0].weight.data * 100

    finding = found(train("Adam", stretch, activation="tanh"), "saturated units", "0")
    assert "units saturated (Tanh 1)" in finding.sentence
    assert finding.evidence["saturated"] >= 0.4 * 64


def test_vanishing_gradients_are_found():
    findings = train(lambda p: optim.SGD(p, lr=0.1), sizes=(64, *[32] * 7, 10), activation="sigmoid", steps=45)
    (finding,) = [f for f in findings if f.kind == "vanishing"]
    assert finding.sentence.startswith("layers 0, 2")
    assert finding.evidence["gradient_rms"] < 1e-3 * finding.evidence["largest"]


@pytest.mark.parametrize(
    ("lr", "kind", "words"), [(1e-7, "updates too small", "Multiply"), (2.0, "updates too large", "halve")]
)
def test_updates_that_are_too_small_or_too_large_are_found(lr, kind, words):
    with np.errstate(all="ignore"):
        findings = train(lambda p: optim.LAMB(p, lr=lr))
    (finding,) = [f for f in findings if f.kind == kind]
    assert finding.severity == ("warning" if lr < 1 else "error")  # weights explode by it
    assert f"{words} the learning rate" in finding.sentence


def test_biases_that_trust_ratios_leave_out_are_named_where_they_alone_move_too_far():
    findings = train(lambda p: optim.LARS(p, lr=0.5, momentum=0.9))
    (finding,) = [f for f in findings if f.kind == "updates too large"]
    assert "halve the learning rate of 2.bias until the loss falls" in finding.sentence
    assert "in a param group without the others" in finding.sentence
    with np.errstate(all="ignore"):
        (finding,) = [f for f in train(lambda p: optim.LAMB(p, lr=2.0)) if f.kind == "updates too large"]
    assert "bias" not in finding.sentence


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda p: optim.SGD(p, lr=0.0), "every layer did not move in any of 10 records, although there was a "
         "gradient: its learning rate is 0"),
        (lambda p: optim.SGD(p, lr=1e-12), "every layer did not move in any of 10 records, although there was a "
         "gradient: each change is lost in rounding"),
        (lambda p: optim.SGD([{"params": p[:2], "lr": 0.0}, {"params": p[2:]}], lr=0.1), "layer 0 did not move in any"),
    ],
)  # fmt: skip
def test_a_layer_that_stands_still_is_found(made, words):
    (finding,) = [f for f in train(lambda p: made(list(p))) if f.kind == "no update"]
    assert finding.sentence.startswith(words)


def test_two_optimizers_share_a_model_without_a_finding():
    manual_seed(0)
    model = nn.MLP([64, 32, 10])
    both = [optim.Adam([p for p in model.parameters() if (p.layer == "0") == first]) for first in (True, False)]
    recorders = [study.Recorder(model, each, every=every) for each, every in zip(both, (100, 1), strict=True)]
    with recorders[0], recorders[1]:
        for _ in range(3):
            for each in both:
                each.zero_grad()
            nn.functional.cross_entropy(model(DIGITS.features[:64]), DIGITS.labels[:64]).backward()
            for each in both:
                each.step()
    assert "left_out" not in recorders[1].recording.records[0]
    assert [study.findings(each) for each in recorders] == [[], []]


def test_a_layer_that_the_optimizer_was_not_given_is_found():
    findings = faults(lambda p: optim.Adam(list(p)[2:], lr=3e-3))
    assert [f.kind for f in findings] == ["left out"]
    assert findings[0].sentence.startswith("0.weight and 0.bias are not in the optimizer")

    def freeze(model):
        model[0].requires_grad_(False)

    assert faults(lambda p: optim.Adam([q for q in p if q.requires_grad], lr=3e-3), freeze) == []


def test_a_backward_pass_that_was_forgotten_is_one_finding():
    model = nn.MLP([64, 16, 10])
    optimizer = optim.Adam(model.parameters())
    with study.Recorder(model, optimizer, every=5) as recorder:
        for _ in range(20):
            nn.functional.cross_entropy(model(DIGITS.features[:8]), DIGITS.labels[:8])
            optimizer.step()
    (finding,) = study.findings(recorder)
    assert finding.sentence.startswith("no layer had a gradient at any of 5 records")


def test_a_layer_that_the_loss_does_not_depend_on_is_told_from_a_frozen_one():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x):
            return self.last(self.first(x).relu().detach())

    def of(model):
        optimizer = optim.Adam(model.parameters())
        with study.Recorder(model, optimizer, every=5) as recorder:
            for _ in range(10):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(DIGITS.features[:64]), DIGITS.labels[:64]).backward()
                optimizer.step()
        return found(study.findings(recorder), "no gradient", "first")

    manual_seed(0)
    cut, frozen = Cut(), Cut()
    frozen.first.requires_grad_(False)
    assert (of(cut).severity, of(frozen).severity) == ("warning", "note")
    assert of(cut).sentence.endswith("the loss does not depend on it, as after detach() or under no_grad()")
    assert of(frozen).sentence == "layer first: never had a gradient; it is frozen"


@pytest.mark.parametrize("clear", [True, False, None])
def test_gradients_that_nobody_clears_are_found(clear):
    manual_seed(0)
    model = nn.MLP([64, 32, 10])
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    loader = data.DataLoader(DIGITS, batch_size=32, shuffle=True, seed=0)
    with study.Recorder(model, optimizer, every=5) as recorder:
        for x, y in loader:
            if clear is not None:
                optimizer.zero_grad(set_to_none=clear)
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    kinds = [f.kind for f in study.findings(recorder)]
    assert ("gradients add up" in kinds) == (clear is None)


def test_what_was_fitted_exactly_has_no_gradient_and_no_fault():
    layer = {"parameter_norm": 1.0, "update_norm": 0.0, "update_ratio": 0.0}
    moving = {"gradient_norm": 1.0, "parameter_norm": 1.0, "update_norm": 1e-3, "update_ratio": 1e-3}
    started = [{"layers": {"a": moving, "b": moving}, "loss": 1.0, "mean_loss": 1.0}] * 4
    ended = [{"layers": {name: {**layer, "gradient_norm": 0.0} for name in "ab"}, "loss": 0.0, "mean_loss": 0.0}] * 8
    assert study.findings(recording(*started, *ended)) == []
    stuck = [{**record, "loss": 1.0, "mean_loss": 1.0} for record in ended]
    assert "vanishing" in [f.kind for f in study.findings(recording(*started, *stuck))]


def test_the_first_steps_do_not_make_updates_too_large():
    for made in (lambda p: optim.Adagrad(p, lr=0.05), lambda p: optim.RMSprop(p, lr=5e-3)):
        run = record(made, steps=90)
        two = study.Recording(run.header, [run.records[0], run.records[-1]])
        assert two.layer("2", "update_ratio")[0] > 0.1
        assert study.findings(two) == []


def test_weights_may_grow_while_the_loss_falls():
    size = np.geomspace(1.0, 20.0, 10)
    for losses, kinds in ((np.geomspace(1.0, 0.01, 10), []), (np.full(10, 1.0), ["exploding", "updates too small"])):
        layers = [{"a": {"parameter_norm": s, "gradient_norm": 1.0, "update_ratio": 1e-3}} for s in size]
        records = [{"layers": each, "mean_loss": loss} for each, loss in zip(layers, losses, strict=True)]
        findings = study.findings(recording(*records))
        assert [f.kind for f in findings if f.kind != "no gradient"] == kinds


def test_what_is_maximized_should_rise():
    def kinds(maximize):
        layer = {"gradient_norm": 1.0, "parameter_norm": 1.0, "update_ratio": 1e-3}
        records = [{"mean_loss": loss, "layers": {"a": layer, "b": layer}} for loss in -np.geomspace(2.3, 0.1, 20)]
        return [f.kind for f in study.findings(recording(*records, maximize=maximize))]

    assert kinds(False) == ["diverging"]
    assert kinds(True) == []
    rises = {"mean_loss": -2.3, "layers": {}}, {"mean_loss": -2.0, "layers": {}}
    falls = {"mean_loss": -2.3, "layers": {}}, {"mean_loss": -5.0, "layers": {}}
    assert [goes_well(recording(*each)) for each in (rises, falls)] == [False, True]
    assert not goes_well(recording(*falls, maximize=True))
    assert record(lambda p: optim.SGD(p, lr=0.01, maximize=True), steps=1).header["maximize"] is True


def test_decay_within_the_gradient_is_found_by_what_it_leaves():
    findings = train(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), sizes=(64, 64, 64, 10), steps=270)
    (finding,) = [f for f in findings if f.kind == "decay"]
    assert finding.severity == "warning"
    assert finding.evidence["last_norm"] < 1e-3 * finding.evidence["first_norm"]
    assert finding.sentence.endswith("divide weight_decay by 10. Layers 2 and 4 have the same")
    assert not [f for f in findings if f.kind in ("updates too large", "vanishing")]


@pytest.mark.parametrize(("factor", "kinds"), [(1000, ["input scale"]), (1, [])])
def test_inputs_of_another_scale_are_found(factor, kinds):
    manual_seed(0)
    model = nn.MLP([64, 64, 10])
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loader = data.DataLoader(data.Dataset(DIGITS.features * factor, DIGITS.labels), batch_size=32, shuffle=True, seed=0)
    recorder = study.Recorder(model, optimizer, every=10)
    training.fit(model, optimizer, loader, epochs=2, callbacks=[recorder])
    findings = study.findings(recorder)
    assert [f.kind for f in findings if f.kind != "still falling"][:1] == kinds, "the cause comes first"


def test_a_step_that_an_error_stopped_after_a_loss_that_is_nan_is_recorded():
    for ends in ("clip", "break"):
        manual_seed(0)
        model = nn.MLP([64, 32, 10])
        optimizer = optim.SGD(model.parameters(), lr=0.1, clip=clipping.by_global_norm(1.0))
        x = np.array(DIGITS.features[:32])
        recorder = study.Recorder(model, optimizer, every=10)
        try:
            with recorder:
                for step in range(25):
                    if step == 12:
                        x[0, 0] = math.nan
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model(x), DIGITS.labels[:32])
                    recorder.note(loss)
                    if step == 12 and ends == "break":
                        break
                    loss.backward()
                    optimizer.step()
        except FloatingPointError:
            assert ends == "clip"
        last = recorder.recording.records[-1]
        assert (last["step"], last["stepped"], math.isnan(last["loss"])) == (13, False, True)
        assert ("nonfinite" in last["layers"]["0"]) == (ends == "clip"), "the gradient was there"
        (finding,) = study.findings(recorder)
        assert finding.sentence.startswith("the loss was NaN by step 13")


def test_what_comes_of_numbers_that_are_not_finite_is_no_finding():
    def spoil(model):
        model[2].weight.data[0, 0] = math.nan

    findings = train("Adam", spoil, sizes=(64, 48, 32, 10))
    assert [f.kind for f in findings] == ["not finite"]


def test_few_rows_show_no_dead_units():
    def kill(model):
        model[0].bias.data = model[0].bias.data - 100

    run = record("Adam", kill)
    assert "dead units" in [f.kind for f in study.findings(run)]
    run.header["probe_rows"] = 4
    assert "dead units" not in [f.kind for f in study.findings(run)]


def test_dropout_is_not_dead_twice():
    def kill(model):
        model[0].bias.data = model[0].bias.data - 100

    findings = train("Adam", kill, dropout=0.5)
    assert len([f for f in findings if f.kind == "dead units"]) == 1


def test_one_cause_is_told_once_for_all_layers():
    findings = train(lambda p: optim.SGD(p, lr=1000.0), sizes=(64, 48, 48, 10))
    kinds = [f.kind for f in findings]
    assert kinds[0] == "updates too large"
    assert kinds.count("exploding") == 1
    (finding,) = [f for f in findings if f.kind == "exploding"]
    assert finding.sentence.endswith(". Layers 2 and 4 have the same")
    assert "vanishing" not in kinds


def test_updates_larger_than_the_weights_are_found_after_a_single_step():
    run = record(lambda p: optim.SGD(p, lr=1e4), steps=1)
    first = study.Recording(run.header, run.records[:1])
    assert [f.kind for f in study.findings(first) if "updates" in f.kind] == ["updates too large"]
    calm = record("SGD", steps=1)
    assert study.findings(study.Recording(calm.header, calm.records[:1])) == []


def test_a_rising_loss_is_found():
    finding = found(train(lambda p: optim.SGD(p, lr=30.0)), "diverging")
    assert finding.severity == "error"
    assert finding.evidence["last"] > finding.evidence["first"]


def test_decay_that_outweighs_the_gradient_is_found():
    findings = train(lambda p: optim.AdamW(p, lr=3e-3, weight_decay=30.0), steps=225)
    assert found(findings, "decay", "0").evidence["decay_over_gradient"] > 0.5


def test_radam_before_its_rectification_is_noted():
    def findings(steps):
        params = [("a.weight", p) for p in nn.Linear(2, 2, bias=False).parameters()]
        optimizer = optim.RAdam(params, lr=1e-3)
        with study.Recorder(nn.Sequential(), optimizer, every=1, probe=False) as recorder:
            for _ in range(steps):
                params[0][1].grad = params[0][1].detach() * 0.01
                optimizer.step()
        return [f for f in study.findings(recorder.recording) if f.kind == "not rectified"]

    (finding,) = findings(4)
    assert finding.severity == "note"
    assert finding.evidence["rho"] < 5
    assert findings(12) == []


def test_a_clamped_trust_ratio_is_noted():
    finding = found(train(lambda p: optim.LAMB(p, lr=1e-2, phi=(0.0, 0.5))), "clamped", "0.weight")
    assert finding.evidence["clamped"] == finding.evidence["records"] == 10


# --- from records alone ----------------------------------------------------------------------------------------------


def recording(*records, **header):
    layers = {name: {"parameters": 4, "tensors": []} for name in ("a", "b")}
    full = {"format": "minigrad record", "version": 1, "optimizer": "SGD", "layers": layers, **header}
    return study.Recording(full, [{"step": i, "stepped": True, "layers": {}, **r} for i, r in enumerate(records, 1)])


def test_a_recording_without_records_says_what_to_do():
    model = nn.Linear(2, 1)
    for empty in (study.Recording(), study.Recorder(model, optim.SGD(model.parameters(), lr=0.1))):
        (note,) = study.findings(empty)
        assert (note.severity, note.layer) == ("note", None)
        assert note.sentence.startswith("no step was recorded: optimizer.step() was not called while")


def test_findings_take_a_recorder_a_recording_or_its_file(tmp_path):
    dead = recording({"layers": {"a": {"gradient_norm": 0.0, "parameter_norm": 1.0}}})
    assert found(study.findings(dead.save(tmp_path / "record.jsonl")), "vanishing", "a")
    model = nn.Linear(2, 1)
    recorder = study.Recorder(model, optim.SGD(model.parameters(), lr=0.1))
    recorder.recording = dead
    assert study.findings(recorder) == study.findings(dead) == study.findings(str(tmp_path / "record.jsonl"))
    (tmp_path / "run").mkdir()
    dead.save(tmp_path / "run" / "record.jsonl")
    assert study.findings(tmp_path / "run") == study.findings(dead)
    with pytest.raises(TypeError, match=r"needs a Recording, a Recorder or the path of a record\.jsonl, not a Linear"):
        study.findings(model)


def test_nothing_is_said_of_nothing():
    assert study.findings(recording({})) == [
        study.Finding("note", "no gradient", name, f"layer {name}: never had a gradient; it is frozen, or the loss "
                      "does not depend on it")
        for name in "ab"
    ]  # fmt: skip


def test_nan_and_infinity_are_shown_where_they_came_first():
    healthy = {"gradient_norm": 1.0, "parameter_norm": 1.0, "update_ratio": 1e-3}
    bad = {**healthy, "gradient_norm": math.nan, "nonfinite": {"gradient": [3, 1]}}
    findings = study.findings(
        recording(
            {"layers": {"a": healthy, "b": healthy}},
            {"layers": {"a": bad, "b": healthy}, "activations": {"a": {"nan": 0, "inf": 7}}, "mean_loss": math.nan},
            {"layers": {"a": bad, "b": healthy}},
        )
    )
    texts = [f.sentence for f in findings if f.kind == "not finite"]
    assert texts == [
        "layer a: the output held 7 infinite values at step 2, the first that was seen; at that step the loss and "
        "the gradient of layer a too. study.detect_anomaly() names the operation that made the first"
    ]
    assert findings[0].severity == "error"
    assert findings[0].layer == "a"
    assert findings[0].evidence == {"step": 2, "nan": 0, "infinite": 7, "places": 3}
    assert str(findings[0]) == f"error: {texts[0]}"


def test_one_nan_is_one_finding_however_far_it_spreads():
    def poison(model):
        hook = model[2].weight.register_hook
        model.steps = 0

        def spoil(gradient):
            model.steps += 1
            return gradient * math.nan if model.steps == 35 else None

        hook(spoil)

    findings = train("Adam", poison, sizes=(64, 48, 32, 10))
    (finding,) = [f for f in findings if f.kind == "not finite"]
    # The weights of step 36 are NaN, with which the loss of that step is the first that is noted.
    assert finding.layer == "2"
    assert finding.sentence.startswith("layer 2: the parameter held 1,536 NaN at step 36, the first that was seen; ")
    assert finding.evidence["places"] > 9
    assert " more too. " in finding.sentence


@pytest.mark.parametrize("step", [1, 38])
def test_a_loss_that_ends_fit_is_found_where_the_weights_were_at_fault(step, tmp_path):
    manual_seed(0)
    model = nn.MLP([64, 32, 10])
    optimizer = optim.Adam(model.parameters())

    class Poison(training.Callback):
        def begin(self, run):
            self.after_step(run)

        def after_step(self, run):
            if run.progress.step == step - 1:
                model[2].weight.data[0, :3] = math.nan

    loader = data.DataLoader(DIGITS, batch_size=32, shuffle=True, seed=0)
    recorder = study.Recorder(model, optimizer, path=tmp_path / "record.jsonl")
    with pytest.raises(training.NonFiniteLossError):
        training.fit(model, optimizer, loader, epochs=1, callbacks=[recorder, Poison()])
    last = recorder.recording.records[-1]
    assert (last["step"], last["stepped"]) == (step, False)
    assert last["layers"]["2"]["nonfinite"] == {"parameter": [3, 0]}
    assert last["layers"]["0"]["parameter_norm"] == pytest.approx(
        math.hypot(*(np.linalg.norm(p.data) for p in model[0].parameters()))
    )
    assert last["activations"]["2"]["nan"] == recorder.probe[0].shape[0]
    assert math.isnan(last["loss"])
    findings = study.findings(recorder)
    assert findings == study.findings(tmp_path / "record.jsonl")
    assert findings[0].sentence.startswith(f"the loss is nan at step {step} (epoch 1); layer '2' (Linear) was")
    assert (findings[0].layer, findings[0].evidence["nan"]) == ("2", 3)
    assert [f.kind for f in findings] == ["not finite"]
    for plot in PLOTS.values():
        plot(recorder.recording)


def test_a_loss_that_is_nan_by_itself_says_where_to_look():
    (finding,) = study.findings(recording({"loss": 1.0, "mean_loss": 1.0}, {"loss": math.inf, "mean_loss": math.inf}))[
        :1
    ]
    assert finding.sentence.startswith("the loss was infinite by step 2, the first value that was seen not to be")
    assert "look at the features of the batch, and at the loss function" in finding.sentence


def test_a_loss_that_falls_and_rises_again_diverges_but_one_that_wobbles_does_not():
    def kinds(losses):
        layer = {"gradient_norm": 1.0, "parameter_norm": 1.0, "update_ratio": 1e-3}
        records = [{"mean_loss": float(loss), "layers": {"a": layer, "b": layer}} for loss in losses]
        return [f.kind for f in study.findings(recording(*records))]

    fall = np.geomspace(2.3, 0.01, 40)
    assert kinds(fall) == []
    assert kinds(fall * (1 + 0.3 * np.cos(np.arange(40)))) == []
    assert kinds([*fall, *np.linspace(0.01, 2.0, 20)]) == ["diverging"]
    assert kinds(np.full(40, 2.3)) == ["updates too small"]
    assert kinds([*np.geomspace(2.3, 0.01, 40), *np.linspace(0.01, 0.5, 20)]) == ["rising"]
    assert kinds(np.linspace(2.3, 1.0, 40)) == ["still falling"]
    assert kinds([2.3, 2.3, 30.0, *fall]) == ["jumped"]


def test_the_worst_stands_first():
    findings = train(lambda p: optim.AdamW(p, lr=0.3, weight_decay=0.5))
    order = [("error", "warning", "note").index(f.severity) for f in findings]
    assert order == sorted(order)
    assert order


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_layer_as_it_is_drawn_by_default_has_no_wrong_scale(layer):
    manual_seed(0)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.over, self.out = layer(8, 64), nn.Linear(64, 10)

        def forward(self, x):
            return self.out(self.over(x)[0][-1])

    model = Last()
    optimizer = optim.Adam(model.parameters())
    x = minigrad.tensor(np.random.default_rng(0).normal(size=(8, 32, 8)).astype("f"))
    with study.Recorder(model, optimizer, every=1, probe=x) as recorder:
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), minigrad.tensor(np.arange(32) % 10)).backward()
            optimizer.step()
    assert "gain" not in recorder.recording.records[0]["activations"]["over"]
    assert not [finding for finding in study.findings(recorder) if "scale" in finding.kind]
