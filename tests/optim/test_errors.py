"""What optimizers refuse: one clear error naming the option or the parameter, and everything as it was before."""

import inspect
import re

import numpy as np
import pytest
from optim_cases import problem
from optim_registry import REGISTRY
from optim_tools import Chain, assert_same_bits, bits, leaves, network, run, set_gradients, train

from minigrad import Tensor, optim
from minigrad.clipping import by_value
from minigrad.optim import apply_update, norm, rule

EVERY_OPTIMIZER = pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)
NAN, INF = float("nan"), float("inf")


def parameter(value=1.0):
    return Tensor(np.full(2, value, np.float32), requires_grad=True)


# Options


@pytest.mark.parametrize(
    ("entry", "options", "named"),
    [(entry, options, named) for entry in REGISTRY for options, named in entry.errors],
    ids=lambda value: getattr(value, "name", None) or str(value),
)
def test_a_wrong_option_is_refused_by_name(entry, options, named):
    tensor = parameter()
    data = tensor.data
    with pytest.raises((ValueError, TypeError), match=named):
        entry.make([tensor], **options)
    if not entry.lookahead:  # the optimizer inside was made
        assert tensor.data is data


@EVERY_OPTIMIZER
@pytest.mark.parametrize("lr", [-0.1, NAN, INF, "fast", None, True, (0.1,)], ids=str)
def test_an_impossible_learning_rate_is_refused_wherever_it_is_given(entry, lr):
    tensor, other = parameter(), parameter()
    before = tensor.data
    for given, options in (([tensor], {"lr": lr}), ([{"params": [tensor], "lr": lr}], {})):
        with pytest.raises(ValueError, match="lr must be a finite number of 0 or more"):
            entry.make(given, **options)
    assert tensor.data is before
    optimizer = entry.make([tensor], lr=0.1)
    for attempt in (
        lambda: optimizer.add_param_group({"params": [other], "lr": lr}),
        lambda: optimizer.param_groups[0].update(lr=lr),
    ):
        with pytest.raises(ValueError, match="lr must be"):
            attempt()
    assert len(optimizer.param_groups) == 1
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_default_that_no_group_uses_is_checked_too():
    with pytest.raises(ValueError, match="lr must be"):
        optim.SGD([{"params": [parameter()], "lr": 0.1}], lr=-1.0)


def test_numbers_of_numpy_are_numbers():
    optimizer = optim.Adam([parameter()], lr=np.float32(0.5), betas=np.array([0.5, 0.75]).tolist())
    assert type(optimizer.param_groups[0]["lr"]) is float
    with pytest.raises(ValueError, match="lr must be"):
        optim.Adam([parameter()], lr=np.float32("nan"))


@pytest.mark.parametrize("made", [np.array, lambda v: Tensor(np.array(v)), lambda v: Tensor(np.array([[v]]))])
def test_an_array_or_tensor_of_one_number_is_a_number(made):
    optimizer = optim.Adam([parameter()], lr=made(0.5), betas=(made(0.5), 0.75), amsgrad=made(True))
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["amsgrad"]) == (0.5, (0.5, 0.75), True)
    group["lr"] = made(2)
    assert type(group["lr"]) is int
    for wrong in (-1.0, NAN, True):
        with pytest.raises(ValueError, match="lr must be a finite number of 0 or more"):
            group["lr"] = made(wrong)
    ahead = optim.Lookahead(optimizer, k=made(3), alpha=made(0.25))
    assert (ahead.k, ahead.alpha) == (3, 0.25)


def test_an_array_of_several_numbers_is_no_number():
    for wrong in (np.ones(2), Tensor([1.0, 2.0]), np.ones(0)):
        with pytest.raises(ValueError, match="lr must be a finite number"):
            optim.SGD([parameter()], lr=wrong)


@EVERY_OPTIMIZER
def test_an_unknown_option_is_refused_with_the_nearest_known_one(entry):
    with pytest.raises(TypeError, match="weight_deca"):
        entry.make([parameter()], weight_deca=0.1)
    group = {"params": [parameter()], "weight_deca": 0.1}
    with pytest.raises(TypeError, match="unknown option 'weight_deca'; did you mean 'weight_decay'"):
        entry.make([group])
    optimizer = entry.make([parameter()])
    with pytest.raises(TypeError, match="did you mean 'weight_decay'"):
        optimizer.param_groups[0]["weight_deca"] = 0.1
    with pytest.raises(TypeError, match="did you mean 'weight_decay'"):
        optimizer.add_param_group({"params": [parameter()], "weight_deca": 0.1})
    assert len(optimizer.param_groups) == 1


def test_options_of_a_group_cannot_be_removed_and_its_parameters_not_replaced():
    group = optim.SGD([parameter()]).param_groups[0]
    with pytest.raises(KeyError, match="lr"):
        del group["lr"]
    with pytest.raises(ValueError, match="add_param_group"):
        group["params"] = [parameter()]


# Parameters


@EVERY_OPTIMIZER
def test_no_parameters_are_refused(entry):
    for nothing in ([], iter(()), {}):
        with pytest.raises(ValueError, match="the list of parameters is empty"):
            entry.make(nothing)


@EVERY_OPTIMIZER
def test_a_tensor_instead_of_a_list_is_refused(entry):
    with pytest.raises(TypeError, match=r"needs a list of parameters, such as model\.parameters\(\), not one tensor"):
        entry.make(parameter())


@EVERY_OPTIMIZER
def test_a_parameter_twice_is_refused_by_name(entry):
    a, b = parameter(), parameter()
    data = a.data
    for given in (
        [("a", a), ("b", b), ("c", a)],
        [{"params": [("a", a)]}, {"params": [("b", b), ("a", a)]}],
    ):
        with pytest.raises(ValueError, match="the parameter 'a' is given twice"):
            entry.make(given)
    assert a.data is data


@EVERY_OPTIMIZER
def test_a_group_that_cannot_be_added_leaves_the_run_as_it_was(entry):
    arrays, steps = problem()
    params, twins = leaves(arrays), leaves(arrays)
    optimizer, other = entry.make(list(params.items())), entry.make(list(twins.items()))
    run(optimizer, params, steps[:2])
    run(other, twins, steps[:2])
    computed = parameter() * 2.0
    for group, error, named in (
        ({"params": [params["0.bias"]]}, ValueError, "'0.bias' is given twice"),
        ({"params": [parameter(), np.ones(2)]}, TypeError, "must be a tensor, not ndarray"),
        ({"params": [computed]}, ValueError, "only leaves"),
        ({"params": [Tensor(np.arange(3))]}, TypeError, "int64"),
        ({"lr": 0.1}, TypeError, "'params'"),
        ([parameter()], TypeError, "dictionary"),
    ):
        with pytest.raises(error, match=named):
            optimizer.add_param_group(group)
    assert bits(optimizer.state_dict()) == bits(other.state_dict())
    assert_same_bits(run(optimizer, params, steps[2:6]), run(other, twins, steps[2:6]))


@pytest.mark.parametrize("wrong", [5, "weights", np.ones(2), None], ids=str)
def test_what_is_no_tensor_is_refused(wrong):
    with pytest.raises(TypeError):
        optim.SGD([wrong])
    with pytest.raises(TypeError):
        optim.SGD([parameter(), wrong])


def test_integers_and_results_cannot_be_trained():
    with pytest.raises(TypeError, match="only float32 and float64 can be trained"):
        optim.SGD([Tensor(np.arange(3))])
    with pytest.raises(ValueError, match="was computed from other tensors"):
        optim.SGD([parameter() * 2.0])


def test_lookahead_takes_an_optimizer_and_looks_ahead_once():
    with pytest.raises(TypeError, match="needs an optimizer, not list"):
        optim.Lookahead([parameter()])
    with pytest.raises(TypeError, match="already looks ahead"):
        optim.Lookahead(optim.Lookahead(optim.SGD([parameter()])))


# Attributes


@EVERY_OPTIMIZER
def test_an_argument_of_the_constructor_that_is_set_as_an_attribute_is_refused_with_the_remedy(entry):
    optimizer = entry.make([parameter()], lr=0.1)
    for each in {optimizer, getattr(optimizer, "base", optimizer)}:
        settable = {"k", "alpha", "momentum"} if isinstance(each, optim.Lookahead) else vars(each).keys()
        for name in set(inspect.signature(type(each).__init__).parameters) - {"self"} - settable:
            option = name in each.defaults
            remedy = (
                re.escape(f"optimizer.param_groups[i][{name!r}] = ...") if option else "add_param_group|make a new one"
            )
            with pytest.raises(AttributeError, match=rf"{type(each).__name__}\.{name} is an argument.*({remedy})"):
                setattr(each, name, None)
            assert not hasattr(each, name)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_an_optimizer_outside_of_the_package_may_use_the_names_itself():
    class Own(optim.SGD):
        def __init__(self, params, lr):
            self.lr, self.params, self.clip = lr, params, "mine"
            super().__init__(params, lr=lr)

    own = Own([parameter()], 0.5)
    own.lr = own.momentum = 3.0
    assert (own.lr, own.momentum, own.clip, own.param_groups[0]["lr"]) == (3.0, 3.0, "mine", 0.5)


def test_the_clips_cannot_be_replaced():
    optimizer = optim.SGD([parameter()], clip=by_value(1.0))
    before = optimizer.clips
    with pytest.raises(AttributeError, match="clips"):
        optimizer.clips = ()
    assert optimizer.clips is before


def test_lookahead_obeys_or_refuses_what_is_set_later():
    weight = Tensor(np.zeros(1), requires_grad=True)
    optimizer = optim.Lookahead(optim.SGD([weight], lr=1.0), k=1, alpha=0.5)
    for alpha, after in ((0.5, -0.5), (1.0, -1.5), (0.25, -1.75)):
        optimizer.alpha = alpha
        weight.grad = Tensor(np.ones(1))
        optimizer.step()
        assert weight.item() == after
    for name, value, error in (
        ("k", 0, ValueError),
        ("alpha", 2.0, ValueError),
        ("momentum", "reset", AttributeError),
        ("base", optim.SGD([parameter()]), AttributeError),
    ):
        before = getattr(optimizer, name)
        with pytest.raises(error, match=name):
            setattr(optimizer, name, value)
        assert getattr(optimizer, name) is before


# Chains


def test_an_optimizer_without_a_chain_says_so():
    optimizer = optim.Optimizer([parameter()], {"lr": 0.1})
    with pytest.raises(NotImplementedError, match="does not define its chain"):
        optimizer.prepare()


@rule
def needs_length(update, *, length):
    update = length * update
    return update


@rule(scalars=lambda step, warmup: {"length": step / warmup})
def needs_warmup(update, *, length):
    update = length * update
    return update


@rule(state=("total",), init={"total": "start"})
def begins_at_start(update, total):
    total = total + update
    return total


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ((needs_length, apply_update), "'needs_length' needs 'length'"),
        ((needs_warmup, apply_update), "needs 'warmup'"),
        ((begins_at_start, apply_update), "'total'.*'start'"),
        ((apply_update, norm("param", "tensor", where="chosen")), "'chosen'"),
    ],
    ids=["option", "option_of_scalars", "option_of_init", "option_of_norm"],
)
def test_an_option_that_a_rule_needs_and_nobody_gives_is_named_and_nothing_changes(elements, named):
    params = leaves({"w": np.ones(3)})
    optimizer = Chain(params, *elements, lr=0.1)
    set_gradients(params, {"w": np.ones(3)})
    with pytest.raises(TypeError, match=named):
        optimizer.step()
    assert_same_bits(params["w"].data, np.ones(3, np.float32))


@rule
def reads_beta3(update, *, beta3):
    update = beta3 * update
    return update


@rule(scalars=lambda step, beta3: {"length": beta3})
def depends_on_beta3(update, *, length):
    update = length * update
    return update


@pytest.mark.parametrize(
    ("element", "name", "value", "right", "named"),
    [
        (
            apply_update,
            "lr",
            "a",
            1.0,
            r"rule 'apply_update' needs a number for 'lr', which is 'a', of type str; pass a",
        ),
        (
            needs_length,
            "length",
            None,
            1.0,
            r"'needs_length' .*'length', which is None, of type NoneType; pass a number",
        ),
        (needs_warmup, "warmup", (1, 2), 1, r"needs a number for 'warmup', which is \(1, 2\), of type tuple; pass a"),
        (
            reads_beta3,
            "betas",
            (0.5, 0.5),
            (0.5, 0.5, 1.0),
            r"'beta3', number 3 of 'betas', which is \(0.5, 0.5\); pass",
        ),
        (depends_on_beta3, "betas", (1, "b", 2), (0, 0, 1), r"'beta3', number 3 of 'betas'.*'b'.*at least 3 numbers"),
    ],
)
def test_an_option_that_is_not_the_number_that_a_rule_reads_is_named_with_its_value(element, name, value, right, named):
    weight = parameter()
    elements = [element] if element is apply_update else [element, apply_update]
    optimizer = optim.Optimizer([weight], {"lr": 1.0, name: value}, chain=elements)
    weight.grad = Tensor(np.ones(2, np.float32))
    for _ in range(2):
        with pytest.raises(TypeError, match=named):
            optimizer.step()
    assert weight.tolist() == [1.0, 1.0]
    optimizer.param_groups[0][name] = right
    optimizer.step()
    assert weight.tolist() == [0.0, 0.0]


def test_an_error_in_a_closure_or_hook_before_the_step_changes_nothing():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = model.state_dict()

    def fails(*_):
        raise RuntimeError("no loss today")

    with pytest.raises(RuntimeError, match="no loss today"):
        optimizer.step(fails)
    optimizer.register_step_pre_hook(fails)
    with pytest.raises(RuntimeError, match="no loss today"):
        optimizer.step()
    assert_same_bits(model.state_dict(), before)


def test_a_run_goes_on_after_a_step_that_failed():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    twin = network()
    expected = train(twin, optim.SGD(twin.parameters(), lr=0.1, momentum=0.9))
    model.double()
    with pytest.raises(TypeError, match="convert a model before making its optimizer"):
        optimizer.step()
    model.float()
    assert_same_bits(train(model, optimizer), expected)


@EVERY_OPTIMIZER
def test_a_misspelled_argument_of_a_constructor_is_named_with_the_nearest(entry):
    with pytest.raises(TypeError, match=r"unknown argument 'learning_rat'; (did you mean|known are)"):
        entry.make([parameter()], learning_rat=0.1)
