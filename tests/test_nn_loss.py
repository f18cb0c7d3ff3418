"""Losses: every combination of options against PyTorch, relations that need no oracle, and what is refused."""

import itertools

import numpy as np
import pytest

from minigrad import nn
from minigrad.gradcheck import check_gradients
from minigrad.nn import functional as F
from minigrad.tensor import Tensor, tensor

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
