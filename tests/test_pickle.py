"""Pickles and copies: models, optimizers, schedulers, loaders and runs train on from them to the same bits.

`EXAMPLES` has one of every public class, so that a new class cannot be forgotten.
"""

import concurrent.futures
import copy
import importlib
import inspect
import io
import multiprocessing
import operator
import pickle
import sys

import numpy as np
import pytest
import training_cases

import minigrad
from minigrad import Tensor, clipping, data, nn, ops, optim, rules, schedulers, study, tensor, training
from minigrad.cli.options import complete
from minigrad.nn import functional as F
from minigrad.ops import primitive
from minigrad.recipes.recipe import make_run, problem

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
WAYS = {
    "deepcopy": copy.deepcopy,
    **{f"protocol {p}": lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in PROTOCOLS},
}
every_way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)


def bits(model):
    return {name: value.data.tobytes() for name, value in model._named_state().items()}


class Net(nn.Module):
    def __init__(self):
        self.body = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.head = nn.Linear(8, 2)
        self.scale = nn.Parameter(np.ones(2, np.float32), role="gain")
        self.act = minigrad.ops.relu
        self.register_buffer("seen", Tensor(np.zeros((), np.int64)))

    def forward(self, x):
        self.seen.data = self.seen.data + 1
        return self.head(self.act(self.body(x))) * self.scale


FEATURES, LABELS = data.moons(samples=40, seed=3)[:]


def backward(model):
    nn.functional.cross_entropy(model(FEATURES), LABELS).backward()


def train(model, optimizers, schedulers=(), steps=3):
    """As most people do it; the gradients of the last step stay."""
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        backward(model)
        for optimizer in optimizers:
            optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return bits(model)


def halve(step):
    return 0.5**step


def noisy(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad.data[...] += 0.01


def doubled(gradient):
    return gradient * 2


def shifted(module, args, output):
    return output + 0.5


@optim.rule(state=("memory",))
def remember(update, memory, *, forget):
    """A rule of this module, with state."""
    memory = forget * memory + update
    update = memory
    return update, memory


OPTIMIZERS = {
    **training_cases.OPTIMIZERS,
    "own chain": lambda p: optim.Optimizer(
        p, {"lr": 0.05, "forget": 0.5}, chain=optim.chain(remember, optim.apply_update)
    ),
    "clips": lambda p: optim.SGD(p, 0.1, clip=[clipping.by_value(0.5), clipping.by_value(0.1), clipping.adaptive()]),
    "groups": lambda p: optim.Adam([{"params": [next(p), next(p)], "lr": 0.5}, {"params": list(p)}]),
}


# --- models with their optimizers ----------------------------------------------------------------------------------

MOMENTS = {
    "before the first step": lambda model, optimizer: None,
    "after a backward pass": lambda model, optimizer: backward(model),
    "after a step": lambda model, optimizer: train(model, [optimizer], steps=1),
    "in the middle of a cycle": lambda model, optimizer: (train(model, [optimizer], steps=4), backward(model)),
}


@every_way
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("make", [OPTIMIZERS["SGD"], OPTIMIZERS["Lookahead pullback"]], ids=["SGD", "Lookahead"])
def test_a_model_and_its_optimizer_train_on_together(make, moment, again):
    minigrad.manual_seed(0)
    model = Net()
    optimizer = make(model.parameters())
    moment(model, optimizer)
    copied, its_optimizer = again((model, optimizer))
    assert [p.name for p in copied.parameters()] == [p.name for p in model.parameters()]
    for mine, theirs in zip(model.parameters(), copied.parameters(), strict=True):
        assert (mine.role, mine.layer, mine.requires_grad) == (theirs.role, theirs.layer, theirs.requires_grad)
        assert (mine.grad is None) == (theirs.grad is None)
        if mine.grad is not None:
            np.testing.assert_array_equal(mine.grad.data, theirs.grad.data)
    before = bits(model)
    # Without clearing first: the gradients there are belong to the copy.
    for one, its in ((copied, its_optimizer), (model, optimizer)):
        backward(one)
        its.step()
        assert bits(model) == before or one is model
    assert bits(copied) == bits(model) != before
    assert train(copied, [its_optimizer]) == train(model, [optimizer])


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("again", [WAYS["deepcopy"], WAYS["protocol 5"]], ids=["deepcopy", "pickle"])
def test_every_optimizer_trains_on(make, again):
    minigrad.manual_seed(0)
    model = Net()
    optimizer = make(model.parameters())
    train(model, [optimizer])
    copied, its_optimizer = again((model, optimizer))
    assert repr(its_optimizer) == repr(optimizer)
    assert train(copied, [its_optimizer]) == train(model, [optimizer])
    assert (its_optimizer.steps, its_optimizer.skipped) == (optimizer.steps, optimizer.skipped)


@every_way
def test_the_order_in_a_pickle_does_not_matter(again):
    model = Net()
    optimizer = optim.Adam(model.parameters())
    train(model, [optimizer])
    its_optimizer, copied = again([optimizer, model])
    assert train(copied, [its_optimizer]) == train(model, [optimizer])


@every_way
def test_schedulers_go_on_with_their_optimizer(again):
    model = Net()
    optimizer = optim.Lookahead(optim.SGD(model.parameters(), 0.1, momentum=0.9), k=2)
    both = [
        schedulers.LambdaLR(optimizer, halve),
        schedulers.Scheduler(optimizer, schedulers.Linear(1.0, 0.5, 6), option="momentum"),
    ]
    train(model, [optimizer], both)
    copied, its_optimizer, its_both = again((model, optimizer, both))
    assert all(scheduler.optimizer is its_optimizer for scheduler in its_both)
    assert train(copied, [its_optimizer], its_both) == train(model, [optimizer], both)
    assert its_optimizer.origins(0) == optimizer.origins(0)
    assert its_optimizer.origins(0)["lr"].startswith("LambdaLR at its step 6")
    alone = again(both[0])
    alone.step()
    both[0].step()
    assert alone.get_last_lr() == both[0].get_last_lr()


@every_way
@pytest.mark.parametrize("name", sorted(training_cases.SCHEDULERS.keys() - {"none", "LambdaLR", "MultiplicativeLR"}))
def test_every_scheduler_goes_on(name, again):
    optimizer = optim.SGD(Net().parameters(), 0.05, momentum=0.9)
    made = training_cases.SCHEDULERS[name](optimizer)
    made = made if isinstance(made, list) else [made]

    def steps(optimizer, made):
        seen = []
        for _ in range(3):
            optimizer.step()
            for scheduler in made:
                plateau = isinstance(scheduler, schedulers.ReduceLROnPlateau)
                scheduler.step(1.0) if plateau else scheduler.step()
            seen.append({name: optimizer.param_groups[0][name] for name in ("lr", "momentum", "weight_decay")})
        return seen

    steps(optimizer, made)
    copied, its_made = again((optimizer, made))
    assert steps(copied, its_made) == steps(optimizer, made)


@every_way
def test_several_optimizers_over_one_model(again):
    model = Net()
    optimizers = [optim.Adam(model.body.parameters()), optim.SGD([*model.head.parameters(), model.scale], 0.1)]
    train(model, optimizers)
    copied, its_optimizers = again((model, optimizers))
    assert train(copied, its_optimizers) == train(model, optimizers)


@every_way
def test_two_optimizers_over_the_same_parameters(again):
    model = Net()
    optimizers = [optim.Adam(model.parameters()), optim.SGD(model.parameters(), 0.1, momentum=0.5)]
    train(model, optimizers)
    copied, its_optimizers = again((model, optimizers))
    assert train(copied, its_optimizers) == train(model, optimizers)


@every_way
def test_two_models_in_one_optimizer(again):
    first, second = Net(), Net()
    both = nn.ModuleList([first, second])
    optimizer = optim.LARS([*first.parameters(), *second.parameters()], 0.1, scope="layer")
    second(FEATURES).sum().backward()
    train(first, [optimizer])
    copied, its_optimizer = again((both, optimizer))
    for one, its in ((both, optimizer), (copied, its_optimizer)):
        one[1](FEATURES).sum().backward()
        backward(one[0])
        its.step()
    assert bits(copied) == bits(both)


@every_way
def test_tied_parameters_stay_tied(again):
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    optimizer = optim.SGD(model.parameters(), 0.1)
    train(model, [optimizer])
    copied, its_optimizer = again((model, optimizer))
    assert copied[2].weight is copied[0].weight
    assert train(copied, [its_optimizer]) == train(model, [optimizer])


@every_way
def test_a_frozen_parameter_stays_frozen(again):
    model = Net()
    model.head.weight.requires_grad = False
    copied = again(model)
    assert not copied.head.weight.requires_grad
    backward(copied)
    assert copied.head.weight.grad is None


@every_way
def test_a_joint_clip_goes_on(again):
    model = Net()
    optimizer = optim.SGD(model.parameters(), 0.1)

    def go(model, optimizer):
        optimizer.zero_grad()
        backward(model)
        norm = clipping.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return float(norm), bits(model)

    go(model, optimizer)
    copied, its_optimizer = again((model, optimizer))
    assert go(copied, its_optimizer) == go(model, optimizer)


@every_way
def test_a_group_that_was_added_is_there(again):
    model = Net()
    optimizer = optim.Adam(model.body.parameters())
    train(model, [optimizer])
    optimizer.add_param_group({"params": list(model.head.parameters()), "lr": 0.5})
    train(model, [optimizer])
    copied, its_optimizer = again((model, optimizer))
    assert train(copied, [its_optimizer]) == train(model, [optimizer])
    copied, its_optimizer = again((model, optimizer))
    its_optimizer.add_param_group({"params": copied.scale})
    optimizer.add_param_group({"params": model.scale})
    assert train(copied, [its_optimizer]) == train(model, [optimizer])


@every_way
def test_parameters_without_an_optimizer_keep_their_gradients(again):
    model = Net()
    backward(model)
    optim.SGD(model.parameters(), 0.1)
    copied = again(model)
    for mine, theirs in zip(model.parameters(), copied.parameters(), strict=True):
        np.testing.assert_array_equal(mine.grad.data, theirs.grad.data)
        assert not np.shares_memory(mine.data, theirs.data)
        assert not np.shares_memory(mine.grad.data, theirs.grad.data)


# --- hooks and watches ---------------------------------------------------------------------------------------------


@every_way
def test_hooks_are_copied(again):
    model = Net()
    optimizer = optim.SGD(model.parameters(), 0.1)
    handle = model.head.register_forward_hook(shifted)
    optimizer.register_step_pre_hook(noisy)
    model.scale.register_hook(doubled)
    copied, its_optimizer, its_handle = again((model, optimizer, handle))
    assert train(copied, [its_optimizer]) == train(model, [optimizer])
    its_handle.remove()
    assert not copied.head._forward_hooks
    assert model.head._forward_hooks


def test_hooks_keep_their_order_in_a_process_that_has_registered_fewer():
    order = []
    optimizer = optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    optimizer.register_step_pre_hook(noisy)
    twin = pickle.loads(pickle.dumps(optimizer))
    twin.register_step_pre_hook(order.append)
    assert list(twin._pre_hooks.values()) == [noisy, order.append]


@every_way
def test_a_copy_is_not_watched(again):
    model = Net()
    optimizer = optim.Adam(model.parameters())
    with optimizer.watch() as watch:
        train(model, [optimizer])
        copied, its_optimizer, its_watch = again((model, optimizer, watch))
        assert train(copied, [its_optimizer]) == train(model, [optimizer])
        assert not its_watch.active
        assert its_watch.record.step == 3
        np.testing.assert_array_equal(its_watch.record.before["scale"]["param"].shape, (2,))
        with pytest.raises(RuntimeError, match="watch"):
            its_optimizer.explain("scale", 0)
    assert optimizer.explain("scale", 0, coming=True)
    assert its_optimizer.explain("scale", 0, coming=True)


def test_explaining_a_coming_step_runs_no_hook():
    calls = []
    model = Net()
    optimizer = optim.Lookahead(optim.Adam(model.parameters()))
    optimizer.register_step_post_hook(calls.append)
    optimizer.base.register_step_pre_hook(calls.append)
    backward(model)
    optimizer.explain("scale", 0, coming=True)
    assert not calls


class Trainer:
    """A model, its optimizer and its scheduler, which call back: reference cycles through every hook."""

    def __init__(self, around=lambda optimizer: optimizer):
        self.model = Net()
        self.optimizer = around(optim.SGD(self.model.parameters(), 0.1, momentum=0.9))
        self.scheduler = schedulers.ExponentialLR(self.optimizer, 0.9)
        self.norms = []
        self.model.scale.register_hook(self.note)
        self.optimizer.register_step_post_hook(self.after)

    def note(self, gradient):
        self.norms.append(float((gradient * gradient).sum().item()))

    def after(self, optimizer):
        assert optimizer is self.optimizer
        self.scheduler.step()

    def go(self):
        return train(self.model, [self.optimizer]), self.norms, self.scheduler.get_last_lr()


@every_way
@pytest.mark.parametrize("root", ["trainer", "model", "model.scale", "optimizer", "scheduler"])
@pytest.mark.parametrize("around", [lambda optimizer: optimizer, optim.Lookahead], ids=["SGD", "Lookahead"])
def test_a_cycle_can_be_entered_anywhere(around, root, again):
    trainer = Trainer(around)
    trainer.go()
    part = trainer if root == "trainer" else operator.attrgetter(root)(trainer)
    twin, part = again((part, trainer))[::-1]
    assert (twin if root == "trainer" else operator.attrgetter(root)(twin)) is part
    assert twin.go() == trainer.go()


# --- tensors -------------------------------------------------------------------------------------------------------


@every_way
def test_a_tensor_comes_back_with_its_gradient(again):
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (x * x).sum().backward()
    y = again(x)
    assert y.requires_grad
    assert y.is_leaf
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(y.grad.data, x.grad.data)
    assert not np.shares_memory(x.data, y.data)
    (y * y).sum().backward()
    assert y.grad.tolist() == [[4.0, 8.0], [12.0, 16.0]]
    assert x.grad.tolist() == [[2.0, 4.0], [6.0, 8.0]]


@every_way
@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.bool_])
def test_a_tensor_keeps_its_dtype_and_order(dtype, again):
    x = Tensor(np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype)))
    y = again(x)
    assert y.dtype == dtype
    assert y.data.flags.f_contiguous
    np.testing.assert_array_equal(x.data, y.data)


@every_way
def test_a_recorded_tensor_is_refused(again):
    x = tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"only a leaf tensor can be copied, .* made by multiply; use \.detach\(\)"):
        again(x * 2)
    with pytest.raises(RuntimeError, match="only a leaf"):
        copy.copy(x * 2)
    assert again((x * 2).detach()).tolist() == [2.0]


@every_way
def test_what_detach_shares_stays_shared(again):
    x = tensor([1.0, 2.0], requires_grad=True)
    y, alias = again((x, x.detach()))
    alias.data[0] = 5.0
    assert y.tolist() == [5.0, 2.0]
    loss = (y * y).sum()
    alias.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@every_way
def test_a_gradient_that_was_recorded_comes_back_without_its_history(again):
    x = tensor([2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    assert again(x).grad.tolist() == [12.0]
    assert again(x).grad.is_leaf


def test_a_shallow_copy_of_a_tensor_shares_its_memory_and_its_changes():
    x = nn.Parameter([1.0, 2.0])
    y = copy.copy(x)
    assert type(y) is nn.Parameter
    assert y.data is x.data
    loss = (x * x).sum()
    with minigrad.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    x.grad = tensor([1.0, 1.0])
    before = (x * 2).sum()
    copy.copy(x)
    before.backward()


class Marked(nn.Parameter):
    """A subclass with attributes."""


@every_way
def test_a_subclass_keeps_its_attributes(again):
    x = Marked([1.0])
    x.note = "mine"
    assert again(x).note == "mine"
    assert type(again(x)) is Marked


def test_values_that_were_changed_before_are_fresh_in_another_process():
    # The clock of this process is far ahead of that of a new one.
    x = tensor([1.0], requires_grad=True)
    for _ in range(50):
        with minigrad.no_grad():
            x.zero_()
    assert pickle.loads(pickle.dumps(x))._version[0] == 0


# --- shallow copies ------------------------------------------------------------------------------------------------


def test_a_shallow_copy_of_a_module_shares_parameters_and_registers_for_itself():
    model = Net()
    twin = copy.copy(model)
    assert twin.head is model.head
    assert twin.scale is model.scale
    twin.extra = nn.Linear(2, 2)
    twin.register_forward_hook(shifted)
    assert not hasattr(model, "extra")
    assert "extra" not in dict(model.named_children())
    assert not model._forward_hooks


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_shallow_copy_of_an_optimizer_has_the_same_parameters_and_its_own_state(make):
    minigrad.manual_seed(0)
    model = Net()
    optimizer = make(model.parameters())
    train(model, [optimizer])
    other, its_optimizer = copy.deepcopy((model, optimizer))
    twin = copy.copy(optimizer)
    assert [id(p) for g in twin.param_groups for p in g["params"]] == [id(p) for p in model.parameters()]
    twin.param_groups[0]["lr"] = twin.param_groups[0]["lr"] * 1.0
    assert train(model, [twin]) == train(other, [its_optimizer])
    twin.param_groups[0]["lr"] = 0.0
    assert optimizer.param_groups[0]["lr"] != 0.0


# --- rules and primitives ------------------------------------------------------------------------------------------


def test_rules_are_pickled_by_their_names():
    assert pickle.loads(pickle.dumps(remember)) is remember
    assert pickle.loads(pickle.dumps(optim.apply_update)) is optim.apply_update
    assert copy.deepcopy(remember) is remember
    assert len(pickle.dumps(remember)) < 200


def plain(update, *, factor):
    update = factor * update
    return update


def test_a_rule_of_another_name_is_pickled_with_its_function():
    other = rules.rule(plain)
    again = pickle.loads(pickle.dumps(other))
    assert again.function is plain
    assert repr(again) == repr(other)
    assert again(1.0, factor=2.0) == 2.0


def test_a_renamed_rule_is_pickled():
    renamed = remember.renamed({"forget": "forget2"})
    again = pickle.loads(pickle.dumps(renamed))
    assert again.hypers == ("forget2",)
    assert again.function is remember.function
    assert again(1.0, 2.0, forget2=0.5) == (2.0, 2.0)


def test_a_local_rule_can_be_copied_and_says_why_it_cannot_be_pickled():
    @optim.rule
    def local(update):
        update = -update
        return update

    optimizer = optim.Optimizer(nn.Linear(2, 2).parameters(), {"lr": 0.1}, chain=optim.chain(local, optim.apply_update))
    assert copy.deepcopy(optimizer).chain()[0] is local
    with pytest.raises(pickle.PicklingError, match=r"rule 'local' .*<locals>.*define it with def at the top level"):
        pickle.dumps(optimizer)


def test_a_rule_of_a_module_that_is_gone_says_so(tmp_path, monkeypatch):
    code = "from minigrad import optim\n@optim.rule\ndef turn(update):\n    update = -update\n    return update\n"
    (tmp_path / "passing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        module = importlib.import_module("passing")
        (tmp_path / "passing.py").unlink()
        pickled = pickle.dumps(module.turn)
        assert pickle.loads(pickled) is module.turn
    finally:
        del sys.modules["passing"]
    with pytest.raises(pickle.UnpicklingError, match=r"cannot find the rule passing\.turn"):
        pickle.loads(pickled)


@every_way
def test_primitives_come_back_as_themselves(again):
    assert again(ops.exp) is ops.exp
    cube = primitive("test_pickled_cube", lambda x: x**3, "x", (lambda g, x: 3 * g * x * x,), doc="A cube.")
    try:
        assert again(cube) is cube
        pickled = pickle.dumps(cube)
    finally:
        del ops.PRIMITIVES["test_pickled_cube"]
    with pytest.raises(pickle.PicklingError, match="op table"):
        pickle.dumps(cube)
    with pytest.raises(pickle.UnpicklingError, match="'test_pickled_cube'"):
        pickle.loads(pickled)


# --- loaders and runs ----------------------------------------------------------------------------------------------


@every_way
def test_a_loader_goes_on_in_the_middle_of_an_epoch(again):
    loader = data.DataLoader(data.moons(samples=20), batch_size=4, shuffle=True, seed=1)
    for number, _ in enumerate(loader):
        if number == 1:
            twin = again(loader)
    rest = [batch[0].tolist() for batch in twin]
    whole = [batch[0].tolist() for batch in data.DataLoader(data.moons(samples=20), 4, True, seed=1)]
    assert rest == whole[2:]
    assert [x.tolist() for x, _ in twin] == [x.tolist() for x, _ in loader]


class Snapshot(training.Callback):
    """Copies the run after a step."""

    def __init__(self, step, again):
        self.step, self.again, self.copy = step, again, None

    def __getstate__(self):
        return {"step": self.step, "again": None, "copy": None}

    def after_step(self, run):
        if run.progress.step == self.step and self.again is not None:
            self.copy = self.again(run)


def dropping():
    minigrad.manual_seed(4)
    model = nn.MLP([2, 8, 2], dropout=0.5, norm="batch")
    optimizer = optim.Lookahead(optim.Adam(model.parameters(), 0.05, clip=clipping.by_global_norm(1.0)), k=3)
    loader = data.DataLoader(data.moons(samples=40), batch_size=8, shuffle=True, seed=2)
    return model, optimizer, loader


@every_way
@pytest.mark.parametrize("step", [2, 5, 6])
def test_a_run_goes_on_from_a_copy_made_at_any_step(step, again, tmp_path):
    model, optimizer, loader = dropping()
    snapshot = Snapshot(step, again)
    (tmp_path / "log").mkdir()
    log = training.RunLog(tmp_path / "log")
    recorder = study.Recorder(model, optimizer, every=2, path=tmp_path / "record.jsonl")
    run = training.fit(
        model, optimizer, loader, 3, metrics={"accuracy": training.correct}, evaluate=data.moons(samples=10),
        scheduler=schedulers.ExponentialLR(optimizer, 0.9), callbacks=[log, recorder, snapshot],
    )  # fmt: skip
    files = {path: path.read_bytes() for path in [*(tmp_path / "log").iterdir(), tmp_path / "record.jsonl"]}
    minigrad.manual_seed(99)  # where the generator is now does not matter
    other = training.train(snapshot.copy, 3)
    assert other.progress == run.progress
    assert bits(other.model) == bits(model)
    assert {path: path.read_bytes() for path in files} == files
    assert other.callbacks[1].recording.steps.tolist() == recorder.recording.steps.tolist()


@pytest.mark.parametrize("loss", [None, "cross_entropy:label_smoothing=0.1"])
def test_a_run_of_the_command_can_be_pickled(loss):
    arguments = complete({"data": "blobs:samples=40", "model": "mlp:8", "loss": loss, "batch_size": 10, "epochs": 1})
    run = make_run(arguments, problem(arguments))
    again = pickle.loads(pickle.dumps(run))
    assert training.train(again, 2).progress == training.train(run, 2).progress
    assert bits(again.model) == bits(run.model)


# --- another process -----------------------------------------------------------------------------------------------


def train_on(model, optimizer, scheduler):
    """What a worker does."""
    found = train(model, [optimizer], [scheduler])
    return found, model, optimizer, scheduler


def test_a_worker_process_trains_on_to_the_same_bits():
    model = Net()
    optimizer = optim.Adam(model.parameters(), 0.05, clip=clipping.adaptive())
    optimizer.register_step_pre_hook(noisy)
    scheduler = schedulers.LambdaLR(optimizer, halve)
    train(model, [optimizer], [scheduler])
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found, *returned = pool.submit(train_on, model, optimizer, scheduler).result()
    assert found == train(model, [optimizer], [scheduler])
    assert train_on(*returned)[0] == train(model, [optimizer], [scheduler])


# --- every class ---------------------------------------------------------------------------------------------------

ROOMS = [minigrad, nn, optim, schedulers, clipping, data, training, study, rules]
# What keeps nothing that could be pickled: modes, which belong to a thread, and bases; and what refuses.
STATELESS = {
    minigrad.no_grad, minigrad.enable_grad, minigrad.set_grad_enabled, study.detect_anomaly, study.trace,
    schedulers.Schedule, study.Hessian,
}  # fmt: skip


def _optimizer(**options):
    return optim.SGD(nn.Linear(2, 2).parameters(), 0.1, **options)


def _explained():
    layer = nn.Linear(2, 2)
    optimizer = optim.Adam(layer.parameters(), clip=clipping.by_global_norm(1.0))
    layer(FEATURES).sum().backward()
    return optimizer, optimizer.explain("weight", (0, 0), coming=True)


def _clip_report():
    optimizer, _ = _explained()
    optimizer.step()
    return optimizer.clip_reports()[0]


def _gradient_error():
    wrong = primitive("test_pickled_wrong", lambda x: x * 2, "x", (lambda g: g,), doc="Wrong.")
    try:
        minigrad.check_gradients(wrong, np.ones(1))
    except minigrad.GradientError as error:
        return error
    finally:
        del ops.PRIMITIVES["test_pickled_wrong"]


def _anomaly():
    x = tensor([-1.0], requires_grad=True)
    with np.errstate(invalid="ignore"), study.detect_anomaly(), pytest.raises(study.AnomalyError) as caught:
        x.log()
    return caught.value


def _run(*callbacks):
    model, optimizer, loader = dropping()
    return training.fit(model, optimizer, loader, 1, callbacks=callbacks)


def _recorder():
    model, optimizer, loader = dropping()
    recorder = study.Recorder(model, optimizer, every=1)
    training.fit(model, optimizer, loader, 1, callbacks=[recorder])
    return recorder


LINEAR = schedulers.Linear(1.0, 0.5, 6)
EXAMPLES = {
    minigrad.Tensor: lambda: tensor([1.0, 2.0]),
    minigrad.GradientError: _gradient_error,
    nn.Parameter: lambda: nn.Parameter([1.0]),
    nn.Module: nn.Module,
    nn.Summary: lambda: Net().summary(),
    optim.Optimizer: lambda: OPTIMIZERS["own chain"](nn.Linear(2, 2).parameters()),
    optim.Chain: lambda: optim.chain(remember, optim.apply_update),
    rules.RuleError: lambda: rules.RuleError("text"),
    rules.Rule: lambda: remember,
    rules.Norm: lambda: optim.norm("grad", "global"),
    optim.Lookahead: lambda: optim.Lookahead(_optimizer()),
    clipping.Clip: lambda: clipping.adaptive(exclude="0"),
    clipping.ClipReport: _clip_report,
    data.Dataset: lambda: data.moons(samples=4),
    data.DataLoader: lambda: data.DataLoader(data.moons(samples=4)),
    training.Callback: training.Callback,
    training.Checkpoints: lambda: training.Checkpoints("folder"),
    training.EarlyStopping: lambda: training.EarlyStopping(3),
    training.OnEpoch: lambda: training.OnEpoch(print),
    training.RunLog: lambda: training.RunLog("folder"),
    training.StopIfDiverged: training.StopIfDiverged,
    training.Progress: lambda: training.Progress(epoch=2),
    training.Run: _run,
    training.CheckpointError: lambda: training.CheckpointError("text"),
    training.TensorFileError: lambda: training.TensorFileError("text"),
    training.DivergedError: lambda: training.DivergedError("text"),
    training.NonFiniteLossError: lambda: training.NonFiniteLossError("text", 1.0, 2, "0"),
    study.Algorithm: lambda: study.explain(optim.Adam),
    study.Anomaly: lambda: _anomaly().anomaly,
    study.AnomalyError: _anomaly,
    study.Explanation: lambda: _explained()[1],
    study.Term: lambda: _explained()[1].terms[0],
    study.Check: lambda: _explained()[1].checks[0],
    study.Drawing: lambda: study.draw_graph(nn.Linear(2, 2)(tensor([[1.0, 2.0]]))),
    study.Finding: lambda: study.findings(_recorder().recording),
    study.Recorder: _recorder,
    study.Recording: lambda: _recorder().recording,
    study.RecordingError: lambda: study.RecordingError("text"),
    study.Curvature: lambda: study.curvature(nn.Linear(64, 10), data.load_digits().subset(range(9)), F.cross_entropy),
    study.Sweep: lambda: study.sweep(data="moons", epochs=1, seeds=1),
    schedulers.Scheduler: lambda: schedulers.Scheduler(_optimizer(), LINEAR),
    schedulers.ReduceLROnPlateau: lambda: schedulers.ReduceLROnPlateau(_optimizer()),
    schedulers.ChainedScheduler: lambda: training_cases.SCHEDULERS["ChainedScheduler"](_optimizer()),
    schedulers.SequentialLR: lambda: training_cases.SCHEDULERS["SequentialLR"](_optimizer()),
    schedulers.LambdaLR: lambda: schedulers.LambdaLR(_optimizer(), halve),
    schedulers.MultiplicativeLR: lambda: schedulers.MultiplicativeLR(_optimizer(), halve),
    schedulers.CyclicLR: lambda: schedulers.CyclicLR(_optimizer(momentum=0.9), 0.01, 0.1),
    schedulers.OneCycleLR: lambda: schedulers.OneCycleLR(_optimizer(momentum=0.9), 0.1, total_steps=9),
    schedulers.ExponentialLR: lambda: schedulers.ExponentialLR(_optimizer(), 0.9),
    schedulers.Function: lambda: schedulers.Function(halve),
    schedulers.Lambda: lambda: schedulers.Lambda(halve),
    schedulers.Multiplicative: lambda: schedulers.Multiplicative(halve),
}
SETTINGS = {
    "sizes": [2, 3, 2], "modules": (), "in_features": 2, "out_features": 3, "num_embeddings": 3, "embedding_dim": 2,
    "normalized_shape": 2, "num_features": 2, "input_size": 2, "hidden_size": 3, "params": (), "lr": 0.1,
    "schedule": LINEAR, "schedules": (LINEAR, LINEAR), "factors": (LINEAR, LINEAR), "milestones": [2], "base": LINEAR,
}  # fmt: skip


def _example(kind):
    """One of a class, made with the arguments that it needs."""
    if kind in EXAMPLES:
        return EXAMPLES[kind]()
    if issubclass(kind, optim.Optimizer):
        return kind(nn.Linear(2, 2).parameters())
    needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    numbers = {"float": 0.5, "int": 2}
    known = {
        p.name: _optimizer() if p.name == "optimizer" else SETTINGS.get(p.name, numbers.get(str(p.annotation)))
        for p in needed
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return kind(**known)


CLASSES = sorted(
    {kind for room in ROOMS for name in room.__all__ if inspect.isclass(kind := getattr(room, name))} | {*EXAMPLES},
    key=lambda kind: (kind.__module__, kind.__name__),
)


@pytest.mark.parametrize("again", [*WAYS.values(), copy.copy], ids=[*WAYS, "copy"])
@pytest.mark.parametrize("kind", [c for c in CLASSES if c not in STATELESS], ids=lambda c: c.__name__)
def test_one_of_every_public_class(kind, again):
    example = _example(kind)
    assert isinstance(example, kind) or kind is study.Finding
    twin = again(example)
    assert type(twin) is type(example)
    if not isinstance(example, training.Run | training.Callback | nn.Module):
        assert str(twin) == str(example)
    if isinstance(example, nn.Module):
        assert bits(twin) == bits(example)
        assert repr(twin) == repr(example)
    if isinstance(example, training.Callback | data.DataLoader | schedulers.Scheduler):
        assert twin.state_dict() == example.state_dict()


@pytest.mark.parametrize("again", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_recorded_forward_pass_is_not_copied(again):
    hessian = study.Hessian(nn.Linear(64, 10), data.load_digits().subset(range(9)), F.cross_entropy)
    with pytest.raises(TypeError, match="make another one"):
        again(hessian)


def test_joblib_can_store_a_model():
    joblib = pytest.importorskip("joblib")
    model = Net()
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    assert bits(joblib.load(file)) == bits(model)
