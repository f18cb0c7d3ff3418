"""``study.explain``: formula, source, plan and kernel of a rule, a chain, an optimizer."""

import numpy as np
import pytest
from optim_tools import leaves

from minigrad import cli, clipping, nn, optim, study
from minigrad.optim import norm, rule, sqrt
from minigrad.optim.adam import scale_by_adam
from minigrad.study.explanations._notation import formula

OPTIMIZERS = [getattr(optim, n) for n in optim.__all__ if isinstance(getattr(optim, n), type)]
OPTIMIZERS = [kind for kind in OPTIMIZERS if issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer]


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_every_optimizer_is_shown_with_formula_source_plan_and_kernel(kind):
    shown = study.explain(kind)
    assert shown.name.startswith(kind.__name__)
    assert shown.about == (kind.__doc__ or "").partition("\n\n    Args:")[0].replace("\n    ", "\n").replace(
        "::\n", ":\n"
    )
    assert any(line.startswith("θ ←") for line in shown.formula)
    assert "@rule" in shown.source
    assert "bytes per float32 parameter" in shown.plan
    assert "def pass_1(" in shown.kernel
    text = str(shown)
    assert text.index("\nformula\n") < text.index("\nsource\n") < text.index("\nplan\n") < text.index("\nkernel\n")
    assert shown._repr_html_().count("<details") == 4


def test_an_optimizer_is_shown_as_it_is_and_not_as_its_class_is_made():
    params = leaves({"w": [1.0]}, np.float64)
    optimizer = optim.SGD(list(params.items()), lr=0.1, momentum=0.9, clip=clipping.by_global_norm(1.0))
    shown = study.explain(optimizer)
    assert shown.formula[:3] == (
        "clip_norm = ‖u‖ over everything",
        "factor ← min(1, max_norm / (clip_norm + 1e-06))",
        "u ← factor · u",
    )
    assert "float64[::1]" in shown.kernel
    assert "def _momentum_scalars" in shown.source
    assert study.explain(optim.Lookahead(optimizer)).formula.count("s ← s + α (θ - s)") == 1  # noqa: RUF001


def test_a_rule_alone_is_planned_with_what_it_needs_to_run():
    shown = study.explain(scale_by_adam, dtype=np.float64)
    assert shown.formula == (
        "m ← β₁ m + (1 - β₁) u",
        "v ← β₂ v + (1 - β₂) u²",
        "u ← debias1 · m / (√(debias2 · v) + ε)",
        "",
        "with m exp_avg, v exp_avg_sq, β₁ beta1, β₂ beta2, ε eps",
    )
    assert shown.about.endswith("it is planned here with apply_update.")
    assert "float64[::1]" in shown.kernel
    assert "def debias(" in shown.source
    assert study.explain(clipping.adaptive()).formula[0] == "clip_unit_norm = ‖u‖ over each unit"
    chain = optim.chain(norm("update", "layer", 1), optim.apply_update)
    assert study.explain(chain).formula[0] == "‖u‖ = ‖u‖₁ over each layer"


@rule
def spelled(update, param, grad_norm, *, lr, p):
    a = -(update + param) * (lr - p) / (param / update) * p * p
    b = a if not (p > 1 or a <= 2) and p != 3 else (a if lr >= 1 else p)
    c = (a**2) ** p - (a - (b - 1)) + -b + abs(sqrt(a)) / max(a, sqrt(b + 1)) / grad_norm
    param = c
    return param


def test_formulas_keep_what_brackets_mean():
    assert formula(spelled) == [
        "a ← (-(u + θ) (η - p) / (θ / u)) p²",
        "b ← a if not (p > 1 or a ≤ 2) and p ≠ 3, else a if η ≥ 1, else p",
        "c ← (a²)^p - (a - (b - 1)) + -b + |√a| / max(a, √(b + 1)) / ‖g‖",
        "θ ← c",
    ]


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match=r"a function becomes a rule by @optim\.rule"):
        study.explain(lambda update: update)
    for wrong in (3, [], [optim.SGD], np.zeros(2), dict):
        with pytest.raises(TypeError, match="explain: needs a rule, a clip, a chain, or"):
            study.explain(wrong)

    class Own(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

    with pytest.raises(TypeError, match=r"Own cannot be made with its defaults.*instead of its class"):
        study.explain(Own)


@pytest.mark.parametrize("name", cli.OPTIMIZERS)
def test_an_optimizer_may_be_named_as_on_the_command_line(name):
    for spelled in (name, name.lower()):
        assert str(study.explain(spelled)) == str(study.explain(getattr(optim, name)))


@pytest.mark.parametrize(
    "element", [scale_by_adam, optim.apply_update, clipping.by_value(1.0).rule], ids=lambda r: r.name
)
def test_a_rule_may_be_named(element):
    assert str(study.explain(element.name, dtype=np.float64)) == str(study.explain(element, dtype=np.float64))


def test_an_unknown_name_suggests_the_nearest():
    for kind, wrong, near in (("optimizer", "radm", "RAdam"), ("rule", "clip_by_nrm", "clip_by_norm")):
        with pytest.raises(ValueError, match=rf"explain: unknown {kind} '{wrong}'; did you mean '{near}'"):
            study.explain(wrong)
    with pytest.raises(ValueError, match=r"unknown optimizer 'xyz'; known are .*SGD"):
        study.explain("xyz")


def test_what_is_no_update_is_named_by_its_type_alone():
    with pytest.raises(TypeError, match=r"its name, not Sequential$"):
        study.explain(nn.Sequential(nn.Linear(2, 2)))
