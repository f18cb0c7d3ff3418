"""Losses: every combination of options against PyTorch, relations that need no oracle, and what is refused."""

import itertools

import numpy as np
import pytest

from minigrad import Tensor, nn, tensor
from minigrad.autograd.gradients import grad
from minigrad.gradcheck import check_gradients
from minigrad.nn import functional as F

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((6, 4)) * 2
LABELS = np.array([0, 3, 1, 2, 3, 1])


def test_cross_entropy_of_equal_scores_is_the_logarithm_of_the_number_of_classes():
    assert F.cross_entropy(tensor(np.zeros((5, 8))), np.arange(5)).item() == pytest.approx(np.log(8))


def test_cross_entropy_is_nll_of_log_softmax():
    whole = F.cross_entropy(tensor(LOGITS), LABELS)
    parts = F.nll_loss(F.log_softmax(tensor(LOGITS)), LABELS)
    assert whole.item() == pytest.approx(parts.item(), rel=1e-14)


def test_one_hot_probabilities_are_class_numbers():
    hard = F.cross_entropy(tensor(LOGITS), LABELS, label_smoothing=0.2, reduction="none")
    soft = F.cross_entropy(tensor(LOGITS), np.eye(4)[LABELS], label_smoothing=0.2, reduction="none")
    np.testing.assert_allclose(hard.data, soft.data, rtol=1e-13)


def test_ignored_examples_do_not_count():
    some = np.where(np.arange(6) % 2, -100, LABELS)
    for smoothing in (0.0, 0.1):
        ignoring = F.cross_entropy(tensor(LOGITS), some, label_smoothing=smoothing)
        without = F.cross_entropy(tensor(LOGITS[::2]), LABELS[::2], label_smoothing=smoothing)
        assert ignoring.item() == pytest.approx(without.item(), rel=1e-13)


ROWS = {
    "-inf": [-np.inf, 0.0, 1.0, 2.0],
    "inf": [0.0, np.inf, 1.0, 2.0],
    "nan": [np.nan, 0.0, 1.0, 2.0],
    "all -inf": [-np.inf] * 4,
    "large": [1e308, -1e308, 0.0, 1e308],
}
CLASS_WEIGHT = np.array([0.5, 2.0, 0.0, 1.25])
SOME = np.array([-100, 3, 1, 2, 3, 1])


def value_and_gradients(loss, x):
    """The loss, its gradient, and the gradient of the gradient's weighted sum."""
    x = tensor(x, requires_grad=True)
    out = loss(x)
    (first,) = grad(out.sum(), x, create_graph=True)
    wanted = np.arange(1.0, first.size + 1).reshape(first.shape)
    second = grad((first * wanted).sum(), x)[0].data if first.requires_grad else np.zeros(first.shape)
    return out.data, first.data, second


def assert_row_does_not_count(loss, row, index=0):
    """Whatever the scores are at ``index``, losses and gradients are those for scores of 0 there, and 0 for them."""
    with_row, with_zeros = LOGITS.copy(), LOGITS.copy()
    with_row[index], with_zeros[index] = row, 0.0
    found, expected = value_and_gradients(loss, with_row), value_and_gradients(loss, with_zeros)
    for one, other in zip(found, expected, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
    assert not found[1][index].any()
    assert not found[2][index].any()
    assert found[1].any()


def test_an_ignored_row_with_minus_infinity_leaves_the_loss_of_the_others():
    # log(e^-2 + e^-1 + 1) + 1 of the second row, as in PyTorch
    scores = tensor([[-np.inf, 0.0, 1.0], [1.0, 2.0, 3.0]], requires_grad=True)
    loss = F.cross_entropy(scores, [-100, 1])
    loss.backward()
    assert loss.item() == pytest.approx(1.40760596, rel=1e-6)
    np.testing.assert_allclose(scores.grad.data, [[0, 0, 0], [0.09003057, -0.7552715, 0.66524096]], rtol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["", "weighted"])
@pytest.mark.parametrize("name", ["cross_entropy", "smoothed", "nll_loss", "per position"])
def test_an_ignored_row_does_not_count_whatever_it_holds(name, weight, reduction, row):
    options = {"weight": weight, "reduction": reduction}

    def loss(x):
        if name == "nll_loss":
            return F.nll_loss(x, SOME, **options)
        if name == "per position":
            return F.cross_entropy(x.T.reshape(1, 4, 6), SOME.reshape(1, 6), **options)
        return F.cross_entropy(x, SOME, label_smoothing=0.3 if name == "smoothed" else 0.0, **options)

    assert_row_does_not_count(loss, row)
    # A label with a number of its own
    assert_row_does_not_count(lambda x: F.cross_entropy(x, np.where(SOME < 0, 0, SOME), ignore_index=0, **options), row)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_row_whose_class_has_weight_0_does_not_count_whatever_it_holds(reduction, row):
    for loss in (F.cross_entropy, F.nll_loss):
        assert_row_does_not_count(lambda x, loss=loss: loss(x, LABELS, CLASS_WEIGHT, reduction=reduction), row, index=3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("pos_weight", [None, CLASS_WEIGHT], ids=["", "pos_weight"])
def test_an_element_of_weight_0_does_not_count_whatever_it_holds(pos_weight, reduction, row):
    target = np.random.default_rng(0).uniform(size=(6, 4))
    target[0] = np.nan
    for weight in (np.arange(6.0)[:, None] * np.ones(4), np.arange(6.0)[:, None]):
        assert_row_does_not_count(
            lambda x, weight=weight: F.binary_cross_entropy_with_logits(x, target, weight, reduction, pos_weight), row
        )
        chances, targets = tensor(np.full((6, 4), 0.25), requires_grad=True), tensor(target, requires_grad=True)
        loss = F.binary_cross_entropy(chances, targets, weight, reduction).sum()
        for gradient in grad(loss, [chances, targets], create_graph=True):
            assert np.isfinite(gradient.data).all()
            assert not gradient.data[0].any()
            assert np.isfinite(grad(gradient.sum(), chances, retain_graph=True)[0].data).all()


def test_what_arrives_at_an_ignored_example_goes_no_further():
    # The logarithm of the loss of 0 sends an infinite gradient back.
    for loss in (F.cross_entropy, F.nll_loss):
        scores = tensor(np.abs(LOGITS) + 1, requires_grad=True)
        with np.errstate(divide="ignore"):
            (loss(-scores, SOME, reduction="none")).abs().log().sum().backward()
        assert not scores.grad.data[0].any()
        assert np.isfinite(scores.grad.data).all()


def test_a_class_that_cannot_occur_and_is_not_expected_adds_nothing():
    scores, labels = LOGITS.copy(), np.array([0, 3, 1, 0, 3, 1])
    scores[:, 2] = -np.inf
    hard = value_and_gradients(lambda x: F.cross_entropy(x, labels), scores)
    soft = value_and_gradients(lambda x: F.cross_entropy(x, np.eye(4)[labels]), scores)
    for one, other in zip(hard, soft, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert F.cross_entropy(tensor(scores), np.full((6, 4), 0.25)).item() == np.inf


@pytest.mark.filterwarnings("error")
def test_binary_cross_entropy_at_infinite_scores_is_its_limit():
    x, t = np.meshgrid([np.inf, -np.inf], [0.0, 1.0, 0.3])
    for pos_weight in (None, 2.0):
        loss = F.binary_cross_entropy_with_logits(tensor(x), t, reduction="none", pos_weight=pos_weight)
        assert loss.tolist() == [[np.inf, 0], [0, np.inf], [np.inf, np.inf]]
        gradient = value_and_gradients(
            lambda x, p=pos_weight: F.binary_cross_entropy_with_logits(x, t, None, "sum", p), x
        )
        scale = pos_weight or 1.0
        np.testing.assert_allclose(gradient[1], [[1, 0], [0, -scale], [0.7, -0.3 * scale]])
    never = F.binary_cross_entropy_with_logits(tensor([-np.inf]), [1.0], pos_weight=0.0)
    assert never.item() == 0


def test_binary_cross_entropy_of_scores_does_not_cancel():
    # sigmoid(-17) and softplus(-15), from 50 digits
    x = tensor([-17.0, 17.0], requires_grad=True)
    F.binary_cross_entropy_with_logits(x, [0.0, 1.0], reduction="sum").backward()
    np.testing.assert_allclose(x.grad.data, [4.1399375473943354e-8, -4.1399375473943354e-8], rtol=1e-6)
    value = F.binary_cross_entropy_with_logits(tensor([-15.0, 15.0]), [0.0, 1.0], reduction="none")
    np.testing.assert_allclose(value.data, [3.0590227463e-7] * 2, rtol=1e-6)


REGRESSION = ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


def calls(x, labels, chances):
    """Every loss with every kind of target and option, as functions of the reduction."""
    weight = np.ones(4)
    yield from (lambda r, n=n: getattr(F, n)(x, chances, reduction=r) for n in (*REGRESSION, *BINARY))
    yield lambda r: F.smooth_l1_loss(x, chances, beta=0, reduction=r)
    yield lambda r: F.binary_cross_entropy_with_logits(x, chances, weight, r, weight)
    yield lambda r: F.binary_cross_entropy(x, chances, weight, r)
    for w, smoothing, ignored in itertools.product((None, weight), (0.0, 0.1), (-100, 1)):
        yield lambda r, w=w, s=smoothing, i=ignored: F.cross_entropy(x, labels, w, i, r, s)
        yield lambda r, w=w, i=ignored: F.nll_loss(x, labels, w, i, r)
    yield from (
        lambda r, w=w, s=s: F.cross_entropy(x, chances, w, -100, r, s) for w in (None, weight) for s in (0, 0.1)
    )


@pytest.mark.parametrize("reduction", ["avg", "Mean", "", None, True, "batchmean"])
def test_an_unknown_reduction_is_refused_by_every_loss(reduction):
    chances = np.full((6, 4), 0.25)
    for call in calls(tensor(chances), LABELS, chances):
        with pytest.raises(ValueError, match=r"(cross_entropy|nll_loss|mse_loss|l1_loss|huber_loss).*reduction"):
            call(reduction)
    for module in ("CrossEntropy", "NLL", "MSE", "L1", "Huber", "SmoothL1", "BCE", "BCEWithLogits"):
        with pytest.raises(ValueError, match=f"{module}Loss: .*reduction"):
            getattr(nn, f"{module}Loss")(reduction=reduction)


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 3)])
def test_an_empty_batch_sums_to_0_and_has_no_mean(shape):
    x = tensor(np.zeros(shape), requires_grad=True)
    losses = list(calls(x, np.zeros(shape[:1] + shape[2:], int), np.zeros(shape)))
    if len(shape) > 2:  # weights of four classes do not broadcast to these shapes
        losses = losses[:7] + losses[9:]
    for call in losses:
        total, none = call("sum"), call("none")
        assert total.item() == 0
        assert none.size == 0
        for out in (total, none.sum()):
            (first,) = grad(out, x, create_graph=True)
            assert first.shape == shape
        with pytest.raises(ValueError, match="empty batch"):
            call("mean")


def test_an_empty_list_is_one_of_class_numbers():
    x = tensor(np.zeros((0, 4)))
    for loss in (F.cross_entropy, F.nll_loss):
        assert loss(x, [], reduction="sum").item() == 0
        assert loss(x, [], reduction="none").tolist() == []


def test_an_ignored_example_gets_no_gradient():
    scores = tensor(LOGITS, requires_grad=True)
    F.cross_entropy(scores, np.where(np.arange(6) == 2, 7, LABELS), ignore_index=7, label_smoothing=0.1).backward()
    assert (scores.grad.data[2] == 0).all()
    assert (scores.grad.data[[0, 1, 3, 4, 5]] != 0).all()


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_losses_are_finite_at_extreme_scores(size):
    scores = tensor([[size, -size]], requires_grad=True)
    loss = F.cross_entropy(scores, [1]) + F.binary_cross_entropy_with_logits(scores[0], [0.0, 1.0])
    loss.backward()
    assert np.isfinite(loss.item())
    assert np.isfinite(scores.grad.data).all()


def test_cross_entropy_options_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    weight = np.array([0.5, 2.0, 1.25, 0.0])
    labels = LABELS.copy()
    labels[4] = 2
    soft = RNG.dirichlet(np.ones(4), 6)
    for target, w, ignore, reduction, smoothing in itertools.product(
        (labels, soft), (None, weight), (-100, 1), ("mean", "sum", "none"), (0.0, 0.3, 1.0)
    ):
        if target is soft and ignore >= 0:
            continue
        x, y = tensor(LOGITS, requires_grad=True), torch.from_numpy(LOGITS.copy()).requires_grad_()
        options = {"ignore_index": ignore, "reduction": reduction, "label_smoothing": smoothing}
        ours = F.cross_entropy(x, target, None if w is None else tensor(w), **options)
        theirs = torch.nn.functional.cross_entropy(
            y, torch.from_numpy(target), None if w is None else torch.from_numpy(w), **options
        )
        np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-12, err_msg=str(options))
        ours.sum().backward()
        theirs.sum().backward()
        np.testing.assert_allclose(x.grad.data, y.grad.numpy(), rtol=1e-11, atol=1e-14, err_msg=str(options))


def test_probabilities_as_targets_get_a_gradient():
    soft = np.random.default_rng(1).dirichlet(np.ones(4), 6)
    check_gradients(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), [LOGITS, soft])
    check_gradients(lambda x, t: F.binary_cross_entropy(x, t), [soft, soft[::-1].copy()])


def test_binary_cross_entropy_agrees_with_its_form_for_scores():
    scores, target = LOGITS, RNG.uniform(size=(6, 4))
    plain = F.binary_cross_entropy(F.sigmoid(tensor(scores)), target)
    assert plain.item() == pytest.approx(F.binary_cross_entropy_with_logits(tensor(scores), target).item(), rel=1e-12)


def test_binary_cross_entropy_at_0_and_1_is_that_of_pytorch():
    x = tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(x, [1.0, 0.0, 0.0, 1.0], reduction="none")
    assert loss.tolist() == [100, 100, 0, 0]
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.data, [-1e12, 1e12, 0, 0], rtol=1e-6)


def test_losses_of_differences_at_their_joints():
    x = tensor([0.0, 1.0, -1.0, 3.0])
    zero = np.zeros(4, np.float32)
    assert F.huber_loss(x, zero, reduction="none").tolist() == [0, 0.5, 0.5, 2.5]
    assert F.huber_loss(x, zero, delta=2.0, reduction="none").tolist() == [0, 0.5, 0.5, 4]
    assert F.smooth_l1_loss(x, zero, beta=2.0, reduction="none").tolist() == [0, 0.25, 0.25, 2]
    assert F.smooth_l1_loss(x, zero, beta=0, reduction="none").tolist() == [0, 1, 1, 3]


def test_targets_may_be_lists_and_arrays():
    assert F.mse_loss(tensor([1.0, 3.0]), [0.0, 1.0]).item() == 2.5
    assert F.cross_entropy(tensor([[0.0, 0.0]]), [1]).item() == pytest.approx(np.log(2))
    assert nn.L1Loss()(tensor([1.0, 3.0]), np.zeros(2)).dtype == np.float32


@pytest.mark.parametrize("as_given", [np.asarray, Tensor, list])
def test_a_weight_of_another_dtype_does_not_change_that_of_the_loss(as_given):
    scores, weight = Tensor(LOGITS.astype(np.float32), requires_grad=True), as_given(np.array([0.5, 2.0, 1.0, 3.0]))
    for loss in (
        F.cross_entropy(scores, LABELS, weight),
        F.cross_entropy(scores, LABELS, weight, label_smoothing=0.1),
        F.nll_loss(scores, LABELS, weight),
        F.binary_cross_entropy(F.sigmoid(scores), np.ones((6, 4)), weight),
        F.binary_cross_entropy_with_logits(scores, np.ones((6, 4)), weight, pos_weight=weight),
    ):
        scores.grad = None
        loss.backward()
        assert loss.dtype == scores.grad.dtype == np.float32


def test_a_weight_that_asks_for_a_gradient_is_refused():
    weight = Tensor(np.ones(4), requires_grad=True)
    with pytest.raises(TypeError, match="no gradient with respect to input 'weight'"):
        F.cross_entropy(tensor(LOGITS), LABELS, weight)


def test_weights_are_buffers_of_their_modules():
    loss = nn.CrossEntropyLoss(weight=[1.0, 2.0])
    assert list(loss.state_dict()) == ["weight"]
    assert not list(loss.parameters())
    assert list(nn.BCEWithLogitsLoss(pos_weight=[3.0]).state_dict()) == ["pos_weight"]
    given = np.ones(2, np.float32)
    held = nn.NLLLoss(given).weight
    given[:] = 5
    assert held.tolist() == [1, 1]


WRONG = {
    "label too large": (lambda: F.cross_entropy(tensor(LOGITS), LABELS + 1), IndexError, "label 4.*4 classes"),
    "label negative": (lambda: F.cross_entropy(tensor(LOGITS), LABELS - 1), IndexError, "label -1"),
    "label too large, smoothed": (
        lambda: F.cross_entropy(tensor(LOGITS), LABELS + 1, label_smoothing=0.1),
        IndexError,
        "label 4",
    ),
    "labels of another batch": (lambda: F.cross_entropy(tensor(LOGITS), LABELS[:5]), ValueError, r"\(5,\).*\(6, 4\)"),
    "integer scores": (lambda: F.cross_entropy(tensor(LOGITS.astype(int)), LABELS), TypeError, "int64 input"),
    "empty batch": (lambda: F.cross_entropy(tensor(np.zeros((0, 4))), np.zeros(0, int)), ValueError, "empty batch"),
    "empty batch of probabilities": (
        lambda: F.cross_entropy(tensor(np.zeros((0, 4))), np.zeros((0, 4))),
        ValueError,
        "empty batch",
    ),
    "empty batch of numbers": (lambda: F.mse_loss(tensor(np.zeros((0, 4))), np.zeros((0, 4))), ValueError, "empty"),
    "nothing but ignored": (
        lambda: F.cross_entropy(tensor(LOGITS), np.full(6, -100)),
        ValueError,
        r"every label is ignore_index \(-100\)",
    ),
    "nothing but ignored, smoothed": (
        lambda: F.cross_entropy(tensor(LOGITS), np.full(6, -100), label_smoothing=0.1),
        ValueError,
        "every label is ignore_index",
    ),
    "probabilities of another shape": (
        lambda: F.cross_entropy(tensor(LOGITS), np.ones((6, 3))),
        ValueError,
        r"probabilities of shape \(6, 3\).*scores of shape \(6, 4\)",
    ),
    "ignoring a probability": (
        lambda: F.cross_entropy(tensor(LOGITS), np.ones((6, 4)), ignore_index=1),
        ValueError,
        "ignore_index is for class numbers",
    ),
    "one weight per class": (
        lambda: F.cross_entropy(tensor(LOGITS), LABELS, weight=[1.0, 2.0]),
        ValueError,
        r"weight of shape \(2,\) must be one number for each of 4 classes",
    ),
    "smoothing is a share": (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), ValueError, "label_smoothing"),
    "reduction": (lambda: nn.MSELoss("avg"), ValueError, "MSELoss: unknown reduction 'avg'"),
    "reduction of a function": (lambda: F.mse_loss(tensor([1.0]), [1.0], "avg"), ValueError, "mse_loss.*'avg'"),
    "no broadcasting": (lambda: F.mse_loss(tensor([[1.0], [2.0]]), [1.0, 2.0]), ValueError, r"\(2, 1\) and \(2,\)"),
    "delta is positive": (lambda: nn.HuberLoss(delta=0), ValueError, "HuberLoss: delta"),
    "beta is not negative": (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "SmoothL1Loss: beta"),
    "probabilities only": (
        lambda: F.binary_cross_entropy(tensor([1.5]), [1.0]),
        ValueError,
        "probabilities in .*binary_cross_entropy_with_logits",
    ),
    "no NaN probabilities": (lambda: F.binary_cross_entropy(tensor([np.nan]), [1.0]), ValueError, "probabilities"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_refused(what):
    action, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        action()


def test_a_sum_over_nothing_but_ignored_is_zero():
    assert F.cross_entropy(Tensor(LOGITS), np.full(6, -100), reduction="sum").item() == 0


def test_a_probability_of_weight_0_may_be_anything():
    x = Tensor([np.nan, 0.5], requires_grad=True)
    target, weight = Tensor([0.0, 1.0], requires_grad=True), Tensor([0.0, 1.0])
    loss = nn.functional.binary_cross_entropy(x, target, weight=weight)
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.log(2) / 2, rtol=1e-6)
    np.testing.assert_allclose(x.grad.data, [0.0, -1.0], rtol=1e-6)
    assert np.isfinite(target.grad.data).all()
