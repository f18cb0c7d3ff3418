"""The memory rule: what shares memory goes on sharing it, and what somebody kept is never overwritten.

One registry of ways to obtain a tensor or an array from a tensor drives all of it; a public attribute of Tensor or a
primitive that is in neither list fails the first tests.
"""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES

import minigrad
from minigrad import Tensor, clipping, nn, optim
from minigrad.ops import PRIMITIVES
from minigrad.ops.primitive import primitive

SHAPE = (3, 3)
OTHER = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)

# Public attributes of Tensor that give no tensor and no array, or change the tensor itself.
NEITHER = {
    "apply_primitive", "backward", "copy_", "device", "dtype", "fill_", "grad", "is_leaf", "item", "ndim", "numel",
    "register_hook", "requires_grad", "requires_grad_", "retain_grad", "shape", "size", "tolist", "zero_",
}  # fmt: skip

# Methods that need no argument.
CALLED = [
    "abs", "all", "any", "argmax", "argmin", "bool", "ceil", "clone", "cos", "cpu", "detach", "double", "elu", "exp",
    "expm1", "flatten", "flip", "float", "floor", "gelu", "int", "isfinite", "isinf", "isnan", "leaky_relu", "log1p",
    "log_softmax", "logsumexp", "long", "max", "mean", "min", "norm", "prod", "relu", "round", "sigmoid", "sign",
    "silu", "sin", "softmax", "softplus", "squeeze", "std", "sum", "tanh", "var",
]  # fmt: skip

# The others by name: how each is used on a matrix.
ATTRIBUTES = {
    **{name: lambda t, name=name: getattr(t, name)() for name in CALLED},
    **{name: lambda t, name=name: getattr(t, name) for name in ("T", "mT", "data")},
    "astype": lambda t: t.astype(t.dtype),
    "clip": lambda t: t.clip(-100, 100),
    "cumsum": lambda t: t.cumsum(0),
    "dot": lambda t: t.flatten().dot(t.flatten()),
    "expand": lambda t: t.expand(2, 3, 3),
    "gather": lambda t: t.gather(0, minigrad.tensor([[0, 1, 2]])),
    "log": lambda t: (t * t + 1).log(),
    "masked_fill": lambda t: t.masked_fill(np.zeros(SHAPE, bool), 0.0),
    "matmul": lambda t: t.matmul(OTHER),
    "maximum": lambda t: t.maximum(-100.0),
    "minimum": lambda t: t.minimum(100.0),
    "numpy": lambda t: t.detach().numpy(),
    "outer": lambda t: t[0].outer(t[1]),
    "pad": lambda t: t.pad([(0, 0), (0, 0)]),
    "permute": lambda t: t.permute(1, 0),
    "pow": lambda t: t.pow(1),
    "reshape": lambda t: t.reshape(9),
    "split": lambda t: t.split(1)[1],
    "sqrt": lambda t: (t * t).sqrt(),
    "take": lambda t: t.take([0, 1], axis=0),
    "to": lambda t: t.to("cpu"),
    "transpose": lambda t: t.transpose(0, 1),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "view": lambda t: t.view(9),
}
ATTRIBUTES = {name: use for name, use in ATTRIBUTES.items() if name != "cuda"}

# Other ways, and combinations in which NumPy's chain of bases is longer than one view.
OTHERS = {
    "[1]": lambda t: t[1],
    "[:, 1:]": lambda t: t[:, 1:],
    "[:, [0, 2]]": lambda t: t[:, [0, 2]],
    "[[0, 2]]": lambda t: t[[0, 2]],
    "[mask]": lambda t: t[np.eye(3, dtype=bool)],
    "[...]": lambda t: t[...],
    "[None]": lambda t: t[None],
    "iter": lambda t: list(t)[2],
    "+": lambda t: +t,
    "-": lambda t: -t,
    "T.reshape(-1)": lambda t: t.T.reshape(-1),
    "T.reshape(3, 3)": lambda t: t.T.reshape(3, 3),
    "[1][1:]": lambda t: t[1][1:],
    "flatten.detach": lambda t: t.flatten().detach(),
    "numpy.T[0]": lambda t: t.detach().numpy().T[0],
    "data.ravel": lambda t: t.data.ravel(),
    "asarray": lambda t: np.asarray(t.detach()),
    "array": lambda t: np.array(t.detach()),
    "broadcast_to": lambda t: np.broadcast_to(t.data, (2, 3, 3)),
    "as_strided": lambda t: np.lib.stride_tricks.as_strided(t.data, (2,), (4,)),
    "diagonal": lambda t: t.data.diagonal(),
    "memoryview": lambda t: np.asarray(memoryview(t.data)),
    "Tensor": lambda t: Tensor(t.detach()),
    "tensor": lambda t: minigrad.tensor(t.detach()),
    "Parameter": lambda t: nn.Parameter(t.detach()),
    "deepcopy": lambda t: copy.deepcopy(t),
    "einsum transpose": lambda t: minigrad.einsum("ij->ji", t),
    "einsum itself": lambda t: minigrad.einsum("ij->ij", t),
    "einsum diagonal": lambda t: minigrad.einsum("ii->i", t),
    "einsum sum": lambda t: minigrad.einsum("ij->i", t),
    "one of one concatenated": lambda t: minigrad.concatenate(t),
    "stack": lambda t: minigrad.stack(t, t),
    "where": lambda t: minigrad.where(np.ones(SHAPE, bool), t, 0.0),
    "user's view": lambda t: user_view(t),
    "user's identity": lambda t: user_identity(t),
}
WAYS = {**ATTRIBUTES, **OTHERS}

# Ops of a user who has not said that they share memory.
user_view = primitive("test_memory_view", lambda x: x[::-1], "x", (lambda g: g[::-1],), doc="Backwards.")
user_identity = primitive("test_memory_identity", lambda x: x, "x", (lambda g: g,), doc="Itself.")


def array_of(value):
    return value.data if isinstance(value, Tensor) else value


def every(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, [pytest.param(way, id=key) for key, way in WAYS.items()])


def test_every_public_attribute_of_a_tensor_is_in_the_registry() -> None:
    public = {name for name in dir(Tensor) if not name.startswith("_")} - {"cuda"}
    assert public == set(ATTRIBUTES) | NEITHER


# Parameters


def optimizer(parameters, **options):
    return optim.SGD(parameters, lr=0.1, **options)


def second_optimizer(parameters):
    first = optimizer(parameters)
    optim.Adam(parameters)
    return first


def joint_clip(parameters):
    first, more = optimizer(parameters), nn.Parameter(np.ones(4, np.float32))
    other = optimizer([more])
    for p in (*parameters, more):
        p.grad = minigrad.ones(*p.shape)
    clipping.clip_grad_norm_([*parameters, more], 1e-3)
    other.step()
    return first


def grown(parameters):
    first = optimizer(parameters)
    first.add_param_group({"params": [nn.Parameter(np.ones(4, np.float32))]})
    return first


@every("way")
@pytest.mark.parametrize("adopt", [optimizer, second_optimizer, joint_clip, grown])
def test_a_handle_taken_before_an_optimizer_goes_on_sharing_the_parameter(way, adopt) -> None:
    p = nn.Parameter(OTHER.copy())
    with minigrad.no_grad():
        handle = way(p)
    shared, before = np.shares_memory(array_of(handle), p.data), np.array(array_of(handle))
    made = adopt([p])
    p.grad = minigrad.ones(*SHAPE)
    made.step()
    np.testing.assert_allclose(p.data, OTHER - 0.1, rtol=1e-6)
    assert np.shares_memory(array_of(handle), p.data) == shared
    if shared:
        with minigrad.no_grad():
            np.testing.assert_array_equal(array_of(handle), array_of(way(p)))
    else:
        np.testing.assert_array_equal(array_of(handle), before)


def test_weights_clipped_through_a_handle_are_clipped() -> None:
    """As in WGAN."""
    p = nn.Parameter(np.full(3, 40.0, np.float32))
    handle = p.detach()
    made = optimizer([p])
    for _ in range(2):
        p.grad = minigrad.ones(3)
        made.step()
        handle.copy_(handle.clip(-0.01, 0.01))
    np.testing.assert_array_equal(p.data, np.full(3, -0.01, np.float32))


def test_an_array_that_a_parameter_was_made_of_follows_it() -> None:
    array = np.ones(3, np.float32)
    p = nn.Parameter(array)
    made = optimizer([p])
    p.grad = minigrad.ones(3)
    made.step()
    np.testing.assert_allclose(array, 0.9)


def test_parameters_that_share_memory_are_both_updated() -> None:
    p = nn.Parameter(np.zeros(3, np.float32))
    q = nn.Parameter(p.detach())
    made = optimizer([p, q])
    p.grad, q.grad = minigrad.ones(3), minigrad.ones(3)
    made.step()
    assert np.shares_memory(p.data, q.data)
    np.testing.assert_allclose(p.data, np.full(3, -0.2), rtol=1e-6)


def test_a_parameter_that_was_moved_once_moves_no_more() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    optimizer(model.parameters())
    arrays = [p.data for p in model.parameters()]
    optim.Adam(reversed(list(model.parameters())))
    optimizer(model[0].parameters()).add_param_group({"params": model[2].parameters()})
    clipping.clip_grad_norm_(model.parameters(), 1.0)
    assert all(p.data is array for p, array in zip(model.parameters(), arrays, strict=True))


@pytest.mark.parametrize("make", [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[::-1]])
def test_a_parameter_that_can_neither_move_nor_stay_is_refused_with_the_remedy(make) -> None:
    array = np.ones((4, 6), np.float32)
    p, q = nn.Parameter(np.ones(2, np.float32)), nn.Parameter(make(array))
    data = p.data
    with pytest.raises(ValueError, match="create it from a copy"):
        optimizer([p, q])
    assert p.data is data


def test_a_parameter_made_of_an_array_that_cannot_be_written_to_is_trained() -> None:
    p = nn.Parameter(np.broadcast_to(np.float32(1.0), (2, 2)))
    made = optimizer([p])
    p.grad = minigrad.ones(2, 2)
    made.step()
    np.testing.assert_allclose(p.data, np.full((2, 2), 0.9), rtol=1e-6)


# Gradients


def gradients(way, use) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What was kept of three gradients in a row, each with a copy of what it was when the next one came."""
    w, more = nn.Parameter(OTHER.copy()), nn.Parameter(np.ones(4, np.float32))
    step = use([w, more])
    kept = []
    for k in (1.0, 2.0, 3.0):
        w.grad = more.grad = None
        ((k * w).sum() + more.sum()).backward()
        handle = array_of(way(w.grad))
        step(w)
        kept.append((handle, np.array(handle)))
    return iter(kept)


def no_optimizer(parameters):
    return lambda w: None


def stepping(parameters):
    made = optimizer(parameters)
    return lambda w: made.step()


def clipping_jointly(parameters):
    makers = [optimizer(parameters[:1]), optimizer(parameters[1:])]

    def step(w) -> None:
        clipping.clip_grad_norm_(parameters, 0.5)
        for made in makers:
            made.step()

    return step


def assigning(parameters):
    made = optimizer(parameters)

    def step(w) -> None:
        w.grad = minigrad.tensor(OTHER * w.grad.data[0, 0])
        made.step()

    return step


def accumulating_a_recorded_one(parameters):
    made = optimizer(parameters)

    def step(w) -> None:
        w.grad = None
        (w * w * w).sum().backward(create_graph=True)
        made.step()

    return step


def loading(parameters):
    made = optimizer(parameters)

    def step(w) -> None:
        made.load_state_dict(made.state_dict())
        made.step()
        made.add_param_group({"params": [nn.Parameter(np.ones(2, np.float32))]})

    return step


@every("way")
@pytest.mark.parametrize(
    "use", [no_optimizer, stepping, clipping_jointly, assigning, accumulating_a_recorded_one, loading]
)
def test_a_gradient_that_is_kept_in_any_form_keeps_its_values(way, use) -> None:
    for handle, values in gradients(way, use):
        np.testing.assert_array_equal(handle, values)


def test_the_gradient_tensor_itself_keeps_its_values() -> None:
    w = nn.Parameter(OTHER.copy())
    made, kept = optimizer([w]), []
    for k in (1.0, 2.0, 3.0):
        made.zero_grad()
        (k * w).sum().backward()
        kept.append(w.grad)
        made.step()
    assert [g.data[0, 0] for g in kept] == [1, 2, 3]
    np.testing.assert_allclose(w.data, OTHER - 0.1 * 6, rtol=1e-6)


@every("way")
def test_what_shares_the_current_gradient_changes_with_it(way) -> None:
    w = nn.Parameter(OTHER.copy())
    optimizer([w])
    w.sum().backward()
    handle = way(w.grad)
    if np.shares_memory(array_of(handle), w.grad.data):
        w.sum().backward()
        clipping.clip_grad_value_([w], 1.5)
        np.testing.assert_array_equal(array_of(handle), array_of(way(w.grad)))
        assert w.grad.data[0, 0] == 1.5


@pytest.mark.parametrize("owned", [True, False], ids=["a copy", "an array that is kept"])
def test_an_assigned_gradient_is_that_tensor_and_shares_what_it_shared(owned) -> None:
    w, array = nn.Parameter(OTHER.copy()), np.ones(SHAPE, np.float32)
    made = optimizer([w])
    g = minigrad.tensor(array) if owned else Tensor(array)
    handle = g.detach() if not owned else None
    w.grad = g
    assert w.grad is g
    g *= 2
    made.step()
    np.testing.assert_allclose(w.data, OTHER - 0.2, rtol=1e-6)
    if handle is not None:
        array += 1
        np.testing.assert_array_equal(w.grad.data, handle.data)
        made.step()
        np.testing.assert_allclose(w.data, OTHER - 0.5, rtol=1e-6)


def test_one_tensor_may_be_the_gradient_of_two_parameters() -> None:
    p, q = nn.Parameter(OTHER.copy()), nn.Parameter(OTHER.copy())
    made = optimizer([p, q])
    p.grad = q.grad = minigrad.ones(*SHAPE)
    made.step()
    p.grad = None
    (2 * p).sum().backward()
    made.step()
    np.testing.assert_allclose(p.data, OTHER - 0.3, rtol=1e-6)
    np.testing.assert_allclose(q.data, OTHER - 0.2, rtol=1e-6)


def test_gradients_kept_of_one_parameter_leave_those_of_the_others_right() -> None:
    """A kept gradient has the memory of all renewed, while others' new gradients are in the old one."""
    parameters = [nn.Parameter(np.zeros(3, np.float32)) for _ in range(3)]
    made, other, kept = optimizer(parameters), optim.SGD(parameters[1:], lr=1.0), []
    for _ in range(4):
        for p in parameters:
            p.grad = None
        sum(((i + 1) * p).sum() for i, p in enumerate(parameters)).backward()
        kept.append([p.grad.data for p in parameters[:2]])
        made.step()
        other.step()
    np.testing.assert_allclose(np.array([p.data[0] for p in parameters]), [-0.4, -0.8 - 8, -1.2 - 12], rtol=1e-6)
    assert all((a == 1).all() and (b == 2).all() for a, b in kept)


def test_memory_of_kept_gradients_is_all_that_grows() -> None:
    w = nn.Parameter(OTHER.copy())
    made = optimizer([w])
    memory = w._place.memory.grad
    for _ in range(3):
        w.grad = None
        w.sum().backward()
        g = w.grad.flatten()  # the loop's own variable, gone with the next one
        made.step()
    assert w._place.memory.grad is memory
    assert g.shape == (9,)


# Changes in place


@every("way")
@pytest.mark.parametrize("early", [True, False], ids=["taken before", "taken after"])
def test_a_change_of_what_shares_memory_raises_in_backward_and_one_of_a_copy_never_does(way, early) -> None:
    x, w = minigrad.tensor(OTHER), nn.Parameter(np.ones(SHAPE, np.float32))
    handle = way(x) if early else None
    loss = (x * w).sum()
    handle = way(x) if handle is None else handle
    if not isinstance(handle, Tensor) or not handle.size or handle.dtype.kind != "f":
        return
    shared = np.shares_memory(handle.data, x.data)
    if not handle.data.flags.writeable:
        return
    with minigrad.no_grad():
        handle.zero_()
    if shared:
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()
    else:
        loss.backward()
        np.testing.assert_array_equal(w.grad.data, OTHER)


@pytest.mark.parametrize("name", sorted(name for name in PRIMITIVES if not name.startswith("test_")))
@given(data=st.data())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_an_output_has_the_version_of_the_input_whose_memory_it_shares_and_no_other(name, data) -> None:
    f, arrays = CASES[name](data.draw)
    inputs = [Tensor(a) for a in arrays]
    outputs = f(*inputs)
    for out in outputs if isinstance(outputs, tuple | list) else [outputs]:
        for x in inputs:
            if isinstance(out, Tensor) and out is not x:
                assert (out._version is x._version) == np.shares_memory(out.data, x.data)


LABELS = {
    "cross_entropy": lambda x, t: nn.functional.cross_entropy(x, t),
    "nll_loss": lambda x, t: nn.functional.nll_loss(x, t),
    "take": lambda x, t: x.take(t, axis=0).sum(),
    "index": lambda x, t: (x[t] * x[t]).sum(),
    "indices": lambda x, t: (x[t, t] ** 2).sum(),
    "list of an index": lambda x, t: (x[[t, t]] ** 2).sum(),
    "gather": lambda x, t: x.gather(0, t.reshape(1, 3)).sum(),
    "embedding": lambda x, t: (nn.functional.embedding(t, x) ** 2).sum(),
    "where": lambda x, t: minigrad.where(t == 2, x, 0.0).sum(),
    "mask": lambda x, t: (x[t == 2] ** 2).sum(),
    "float target": lambda x, t: nn.functional.mse_loss(x[0], t * 1.0),
    "factor": lambda x, t: (x[0] * (t * 1.0)).sum(),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("kind", ["array", "tensor", "view"])
def test_labels_keys_and_masks_changed_after_the_forward_pass_never_give_a_wrong_gradient(name, kind) -> None:
    labels = np.array([0, 2, 1])
    x = Tensor(OTHER / 10, requires_grad=True)
    LABELS[name](x, labels.copy()).backward()
    right, x.grad = x.grad.data, None
    given = labels.copy() if kind == "array" else minigrad.tensor(labels)
    loss = LABELS[name](x, given if kind != "view" else given.reshape(3))
    given[0] = 1
    given[1] = 1
    try:
        loss.backward()
    except RuntimeError:
        assert kind != "array"  # which has no version, so what is kept of it is a copy
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()
    else:
        np.testing.assert_array_equal(x.grad.data, right)


@pytest.mark.parametrize(
    ("op", "setting"),
    [
        (lambda x, s: x.permute(s), [1, 0]),
        (lambda x, s: x.flip(s), [0]),
        (lambda x, s: x.sum(s), [0]),
        (lambda x, s: x[s], [0, 2]),
        (lambda x, s: x[:, s], [0, 2]),
        (lambda x, s: x[s], np.array([0, 2])),
        (lambda x, s: x.pad([(1, 1), s]), [1, 1]),
        (lambda x, s: x.reshape(s), [9, 1]),
    ],
)
def test_settings_changed_after_the_forward_pass_do_not_matter(op, setting) -> None:
    x = Tensor(OTHER, requires_grad=True)
    (op(x, copy.copy(setting)) ** 2).sum().backward()
    right, x.grad = x.grad.data, None
    loss = (op(x, setting) ** 2).sum()
    setting[0] = 0 if setting[0] else 1
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, right)


def test_an_extra_that_shares_memory_with_the_output_is_looked_after() -> None:
    def forward(x):
        out = np.exp(x)
        return out, out.reshape(-1)

    op = primitive(
        "test_memory_extra",
        forward,
        "x",
        (lambda g, flat: g * flat.reshape(g.shape),),
        extras={"flat": None},
        doc="exp",
    )
    x = Tensor(OTHER / 10, requires_grad=True)
    y = op(x)
    with minigrad.no_grad():
        y *= 0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_an_array_beside_a_tensor_is_kept_as_it_was() -> None:
    x, array = Tensor(OTHER, requires_grad=True), OTHER.copy()
    loss = (x * array).sum()
    array *= 0
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, OTHER)


# Changes in place of what is recorded


def test_a_view_of_a_recorded_tensor_cannot_be_changed_without_it() -> None:
    h = Tensor(OTHER, requires_grad=True) * 1
    r = h[0]
    with pytest.raises(RuntimeError, match="shares its memory with another tensor"):
        r += 100
    with pytest.raises(RuntimeError, match="shares its memory with another tensor"):
        h += 100
    np.testing.assert_array_equal(h.data, OTHER)


def test_without_another_tensor_over_its_memory_a_view_can_be_changed() -> None:
    x = Tensor(OTHER, requires_grad=True)
    r = (x * 1)[0]
    r += 100
    r *= 2
    r.sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[2, 2, 2], [0, 0, 0], [0, 0, 0]])


def test_a_recorded_tensor_changed_in_place_is_changed_under_all_its_names() -> None:
    x = Tensor(OTHER, requires_grad=True)
    h = x * 2
    other_name = h
    h.retain_grad()
    h += x
    h *= x
    assert other_name is h
    np.testing.assert_array_equal(h.data, 3 * OTHER * OTHER)
    h.sum().backward()
    np.testing.assert_array_equal(x.grad.data, 6 * OTHER)
    np.testing.assert_array_equal(h.grad.data, np.ones(SHAPE))


def test_a_total_that_needs_no_gradient_itself_collects_what_is_recorded() -> None:
    """As in PyTorch."""
    x, total = Tensor(OTHER, requires_grad=True), minigrad.zeros(3)
    for row in x:
        total += row * row
    total.sum().backward()
    np.testing.assert_array_equal(x.grad.data, 2 * OTHER)


def test_a_sum_in_place_keeps_its_shape() -> None:
    h = Tensor(np.ones(3, np.float32), requires_grad=True) * 1
    with pytest.raises(ValueError, match=r"shape \(3, 3\), which a tensor of shape \(3,\) cannot hold"):
        h += OTHER


def test_many_views_of_one_tensor_leave_no_trace() -> None:
    x = Tensor(OTHER)
    for _ in range(1000):
        x[0]
    assert len(x._version) < 20


@pytest.mark.parametrize("handle", [lambda t: t.detach().numpy(), lambda t: t.data, lambda t: t.data[1:]])
@pytest.mark.parametrize("recorded", [False, True])
def test_an_array_of_what_is_changed_in_place_changes_too(handle, recorded) -> None:
    x = Tensor(OTHER, requires_grad=True)
    total = x * 2 if recorded else minigrad.tensor(2 * OTHER)
    array = handle(total)
    total += x
    total.sum().backward()
    np.testing.assert_array_equal(array, handle(total))
    np.testing.assert_array_equal(total.data, 3 * OTHER)
    np.testing.assert_array_equal(x.grad.data, np.full(SHAPE, 3.0 if recorded else 1.0))


def test_an_array_is_never_left_behind_where_a_gradient_needs_what_it_holds() -> None:
    h = Tensor(OTHER / 10, requires_grad=True).exp()
    array = h.data
    with pytest.raises(RuntimeError, match="shares its memory with an array, and a gradient needs what it holds"):
        h += 1
    del array
    h += 1
    h.sum().backward()


def test_a_total_that_was_looked_at_may_still_be_added_to() -> None:
    total = minigrad.zeros(3, 3)
    total.detach()
    assert [float(row.sum()) for row in total] == [0, 0, 0]
    total += Tensor(OTHER, requires_grad=True)
    np.testing.assert_array_equal(total.data, OTHER)


@pytest.mark.parametrize("twin", [copy.copy, lambda t: t.detach(), lambda t: t.view(9), Tensor])
def test_tensors_over_one_memory_refuse_to_part_whichever_is_changed(twin) -> None:
    for changed in (0, 1):
        total = minigrad.zeros(3, 3)
        both = total, twin(total)
        one = both[changed]
        with pytest.raises(RuntimeError, match="shares its memory with another tensor"):
            one += Tensor(OTHER.reshape(one.shape), requires_grad=True)


def test_a_converted_model_leaves_graphs_that_have_its_earlier_values() -> None:
    x, layer = Tensor(OTHER, requires_grad=True), nn.Linear(3, 1)
    weight = layer.weight.data.copy()
    loss = layer(x).sum()
    layer.double()
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, np.repeat(weight, 3, axis=0))


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def test_gradients_and_parameters_made_of_read_only_arrays_can_be_changed() -> None:
    """As arrays of other libraries often are."""
    for gradient in (Tensor(read_only(np.ones(2, np.float32))), minigrad.ones(1).expand(2)):
        p = nn.Parameter(read_only(np.array([1, 2], np.float32)))
        p.grad = gradient
        clipping.clip_grad_value_([p], 0.5)
        (p * 2).sum().backward()
        np.testing.assert_array_equal(p.grad.data, [2.5, 2.5])
        nn.init.zeros_(p)
        with minigrad.no_grad():
            p -= 1
        np.testing.assert_array_equal(p.data, [-1, -1])


@pytest.mark.parametrize("change", [lambda t: t.fill_(1), lambda t: t.copy_(0), lambda t: t.__setitem__(0, 1.0)])
def test_memory_that_cannot_be_written_to_is_named(change) -> None:
    for t in (minigrad.ones(1).expand(2), Tensor(read_only(np.ones(2, np.float32)))):
        with pytest.raises(RuntimeError, match=r"memory cannot be written to: .* change a copy, made with \.clone\(\)"):
            change(t)
