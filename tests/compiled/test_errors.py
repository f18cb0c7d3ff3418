"""What a compiled step refuses: values that Python needs, escapes, and hidden inputs. Everything is as before then."""

import re
from pathlib import Path

import numpy as np
import pytest
from step_tools import Training, batches, differences, mlp, normal, now

import minigrad
from minigrad import nn, schedulers
from minigrad.compiled import HiddenInputError, UntraceableError
from minigrad.nn import functional as F

pytestmark = pytest.mark.sample(1)

kept, outside = [], np.zeros(3, "f")


def into(array, value):
    np.add(array, value.data, out=array)


NEEDING_VALUES = {
    "item": lambda made, scores, loss: loss.item(),
    "float": lambda made, scores, loss: float(loss),
    "int": lambda made, scores, loss: int(loss),
    "tolist": lambda made, scores, loss: scores.tolist(),
    "numpy": lambda made, scores, loss: np.asarray(scores.detach()),
    "index": lambda made, scores, loss: [1, 2, 3][scores.argmax(axis=1)[0]],
    "range": lambda made, scores, loss: range(scores.argmax(axis=1)[0]),
    "mask": lambda made, scores, loss: scores[scores > 0],
    "mask, assigned": lambda made, scores, loss: scores.detach().__setitem__(scores.detach() > 0, 0.0),
    "text": lambda made, scores, loss: str(loss),
    "format": lambda made, scores, loss: f"{loss:.3f}",
    "format without a code": lambda made, scores, loss: f"{loss}",
    "an array outside": lambda made, scores, loss: outside.__setitem__(0, loss.detach()),
    "out=": lambda made, scores, loss: into(outside, scores.sum(axis=0).detach()),
    "metric": lambda made, scores, loss: made.plateau.step(loss.detach()),
}
ESCAPES = {
    "list": lambda made, scores, loss: kept.append(loss),
    "detached": lambda made, scores, loss: kept.append(loss.detach()),
    "array": lambda made, scores, loss: kept.append(scores.data),
    "attribute": lambda made, scores, loss: setattr(made.model, "last", scores),
}


class Using(Training):
    """A step of everything that can change, which then uses its loss; the use is on the line marked HERE."""

    def __init__(self, use, model=None):
        super().__init__(model or mlp(dropout=0.2, norm=True))
        self.scheduler = schedulers.StepLR(self.optimizer, 2)
        self.plateau = schedulers.ReduceLROnPlateau(self.optimizer)
        self.things += [self.scheduler, self.plateau]
        self.use = use

    def step(self, features, target):
        self.optimizer.zero_grad()
        scores = self.model(features)
        loss = F.cross_entropy(scores, target)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.use(self, scores, loss)  # HERE
        return loss


def refused(use, error):
    minigrad.manual_seed(3)
    made = Using(use)
    step = minigrad.compile(made.step)
    calls = batches()
    Using.step(made, *calls[0])
    kept.clear()
    outside[:] = 0
    made.model.train()
    before = now(made.things)
    with pytest.raises(error) as caught:
        step(*calls[1])
    kept.clear()
    assert not differences(now(made.things), before)
    assert not outside.any()
    made.use = lambda *args: None
    made.step(*calls[2])  # eager goes on
    return str(caught.value)


@pytest.mark.parametrize("use", NEEDING_VALUES.values(), ids=NEEDING_VALUES)
def test_a_step_that_needs_values(use):
    """The error names the file and the line of the user's code, and what to do; nothing has changed."""
    text = refused(use, UntraceableError)
    place = re.search(rf"{re.escape(str(Path(__file__)))}:(\d+)", text)
    assert place, text
    line = Path(__file__).read_text().splitlines()[int(place[1]) - 1]
    assert "lambda made, scores, loss" in line or "np.add(array" in line, line
    assert re.search("return|compute|use |pass |multiply|leave", text), text


@pytest.mark.parametrize("use", ESCAPES.values(), ids=ESCAPES)
def test_values_that_are_kept_outside(use):
    assert "return" in refused(use, UntraceableError)


class Counting:
    number = 0


counting = Counting()


def count(made, scores, loss):
    counting.number += 1
    made.model[0].bias.data += 0.1 * counting.number


def noise(made, scores, loss):
    made.model[0].bias.data += np.random.default_rng().normal(size=8).astype("f")


HIDDEN = {"counter": count, "NumPy's random numbers": noise}


@pytest.mark.parametrize("use", HIDDEN.values(), ids=HIDDEN)
def test_hidden_inputs(use):
    """The second call finds that the step is another one, says where, and leaves everything as it was."""
    minigrad.manual_seed(3)
    made = Using(use)
    step = minigrad.compile(made.step)
    calls = batches()
    step(*calls[0])
    before = now(made.things)
    with pytest.raises(HiddenInputError, match=r"0\.bias"):
        step(*calls[1])
    assert not differences(now(made.things), before)
    with pytest.raises(HiddenInputError, match=r"0\.bias"):
        step(*calls[1])
    assert not differences(now(made.things), before)


def test_a_result_that_depends_on_a_global_number():
    factor = {"value": 1.0}
    step = minigrad.compile(lambda x: x * factor["value"])
    x = normal(3)
    step(x)
    factor["value"] = 2.0
    with pytest.raises(HiddenInputError, match="result 0"):
        step(x)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_errors_of_the_step_itself(kind, number):
    """As the step is carried out, everything is taken back; later calls are compiled."""

    def fail(made, scores, loss):
        if made.failing:
            raise kind("mine")

    minigrad.manual_seed(3)
    made = Using(fail)
    step = minigrad.compile(made.step)
    calls = batches()
    made.failing = False
    for i in range(number):
        step(*calls[i])
    made.failing, before = True, now(made.things)
    with pytest.raises(kind, match="mine"):
        step(*calls[number])
    assert not differences(now(made.things), before)
    made.failing = False
    for call in calls:
        step(*call)
    assert not step.reason


def test_what_cannot_be_compiled_or_planned():
    with pytest.raises(TypeError, match="needs a function"):
        minigrad.compile(3)
    with pytest.raises(RuntimeError, match="no call was compiled"):
        minigrad.compile(lambda x: x).plan()


def test_an_argument_that_is_changed_in_place():
    x = normal(3)
    before = x.data.copy()
    with pytest.raises(UntraceableError, match=r"argument.*clone"):
        minigrad.compile(lambda x: x.__setitem__(0, 1.0))(x)
    assert np.array_equal(x.data, before)


def test_constants_may_be_read():
    """What is the same in every step has values."""
    layer = nn.Linear(3, 2)

    def step(x):
        count = minigrad.tensor([2.0, 3.0])
        mask = np.array([True, False, True])
        return layer(x)[:, [0]] * float(count.sum()), x[:, mask], x[:, minigrad.tensor([True, False, True])]

    compiled, x = minigrad.compile(step), normal(4, 3)
    for _ in range(3):
        for mine, theirs in zip(compiled(x), step(x), strict=True):
            assert mine.data.tobytes() == theirs.data.tobytes()
    assert not compiled.reason
