"""Run a step twice from the same start, eagerly and compiled, and compare everything that it leaves, bit for bit."""

import numpy as np

import minigrad
from minigrad import Tensor, nn, optim, random

SEED = 7


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0, dtype="float32"):
    return minigrad.tensor(rng(seed).standard_normal(shape).astype(dtype))


def labels(*shape, classes=3, seed=0):
    return minigrad.tensor(rng(seed).integers(classes, size=shape))


def mlp(*, dropout=0.0, norm=False, dtype="float32", sizes=(6, 8, 3)):
    hidden = [nn.BatchNorm1d(sizes[1])] if norm else []
    hidden += [nn.Tanh()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(nn.Linear(*sizes[:2]), *hidden, nn.Linear(*sizes[1:])).astype(dtype)


def batches(count=5, n=4, features=6, classes=3, dtype="float32"):
    """Features and labels for each call."""
    return [(normal(n, features, seed=i, dtype=dtype), labels(n, classes=classes, seed=i)) for i in range(count)]


class Training:
    """A model, an optimizer, and a step of classification with them; ``make`` of `same_as_eager`."""

    def __init__(self, model=None, optimizer=None, step=None):
        self.model = mlp() if model is None else model
        self.optimizer = (optimizer or optim.Adam)(self.model.parameters())
        self.things = [self.model, self.optimizer]
        self.own_step = step

    def step(self, *args):
        if self.own_step is not None:
            return self.own_step(self, *args)
        features, target = args
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(features), target)
        loss.backward()
        self.optimizer.step()
        return loss


def parts(value, name="", found=None):
    """Every array and number in nested values, by a name."""
    found = {} if found is None else found
    if isinstance(value, nn.Module):
        for key, parameter in value.named_parameters():
            parts(parameter, f"{name}{key}", found)
        for key, buffer in value.named_buffers():
            parts(buffer, f"{name}{key}", found)
        found[f"{name}training"] = [module.training for module in value.modules()]
    elif isinstance(value, Tensor):
        found[name] = value.data.copy()
        found[f"{name}, kind"] = value.requires_grad, type(value).__name__
        if value.grad is not None:
            parts(value.grad, f"{name}, gradient", found)
    elif isinstance(value, optim.Optimizer):
        parts(value.state_dict(), f"{name}{type(value).__name__}", found)
        found[f"{name}counts"] = value.steps, value.stepped, value.skipped
        for i, report in enumerate(value.clip_reports()):
            parts(vars(report), f"{name}report {i}", found)
    elif hasattr(value, "state_dict"):
        parts(value.state_dict(), f"{name}{type(value).__name__}", found)
    elif isinstance(value, dict):
        for key, item in value.items():
            parts(item, f"{name}[{key!r}]", found)
    elif isinstance(value, list | tuple):
        found[f"{name}, type"] = type(value).__name__
        for i, item in enumerate(value):
            parts(item, f"{name}[{i}]", found)
    elif isinstance(value, np.ndarray):
        found[name] = value.copy()
    else:
        found[name] = repr(value)
    return found


def bits(value):
    """Something that is equal for values with the same bits; all NaNs are the same."""
    if not isinstance(value, np.ndarray):
        return value
    plain = np.where(np.isnan(value), np.nan, value) if value.dtype.kind == "f" else value
    return value.dtype, value.shape, plain.tobytes()


def differences(mine, theirs):
    """The names under which two results of `parts` differ."""
    return [name for name in {**mine, **theirs} if bits(mine.get(name)) != bits(theirs.get(name))]


def now(*things):
    """All that is in things, and the state of the random numbers."""
    return parts([*things, random.get_state()])


def without_history(result):
    """Results as a compiled step returns them."""
    if isinstance(result, Tensor):
        return result if result._node is None else result.detach()
    if isinstance(result, dict):
        return {key: without_history(item) for key, item in result.items()}
    if isinstance(result, list | tuple):
        items = map(without_history, result)
        return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)
    return result


def course(make, calls, compiled, between=None):
    """What each call of a step leaves, returns or raises; and why each was made eagerly ("" if it was compiled).

    ``between(made, number, step)`` runs before each call; ``make()`` gives an object with ``step`` and ``things``.
    """
    minigrad.manual_seed(SEED)
    made = make()
    step = minigrad.compile(made.step) if compiled else made.step
    found, reasons = [], []
    for number, args in enumerate(calls):
        if between is not None:
            between(made, number, step)
        args, options = (args[:-1], args[-1]) if args and isinstance(args[-1], dict) else (args, {})
        try:
            result = step(*args, **options)
        except Exception as error:
            result = {"raised": f"{type(error).__name__}: {error}"}
        found.append(now(made.things, without_history(result)))
        reasons.append(getattr(step, "reason", None))
    return found, reasons, step


def fails_as_before(make, calls, number, error, between=None):
    """The call with this number raises; it changes nothing, and the others are as eager's without it."""
    found, _, step = course(make, calls, True, between)
    assert error in found[number].pop("[1]['raised']")
    minigrad.manual_seed(SEED)
    before = found[number - 1] if number else now(make().things, {})
    state = {name: value for name, value in before.items() if not name.startswith("[1]") and "report" not in name}
    wrong = differences({name: found[number].get(name) for name in state}, state)
    assert not wrong, f"changed: {wrong}"
    expected, _, _ = course(make, [*calls[:number], *calls[number + 1 :]], False, between)
    for mine, theirs in zip([*found[:number], *found[number + 1 :]], expected, strict=True):
        assert not differences(mine, theirs)
    return step


def same_as_eager(make, calls, between=None, eager=()):
    """Compare a step with its compiled copy over some calls; those numbered in ``eager`` need a reason, others none."""
    expected, _, _ = course(make, calls, False, between)
    found, reasons, step = course(make, calls, True, between)
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        wrong = differences(mine, theirs)
        raised = [result.get("[1]['raised']") for result in (mine, theirs)]
        assert not wrong, f"call {number} ({reasons[number] or 'compiled'}): {raised}; {wrong[:9]} differ"
    assert [number for number, reason in enumerate(reasons) if reason] == [*eager], reasons
    return step
