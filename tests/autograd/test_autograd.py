"""The graph and the walk: what backward() and grad() return, free, refuse and do not change."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from minigrad import Tensor, ops, tensor
from minigrad.autograd.gradients import grad
from minigrad.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from minigrad.gradcheck import GradientError, check_gradients


def leaf(values, dtype=np.float32) -> Tensor:
    return tensor(values, dtype=dtype, requires_grad=True)


def nodes_alive() -> int:
    gc.collect()
    return sum(type(o).__name__ == "Node" for o in gc.get_objects())


# --- size and shape of the graph -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_100_000_chained_ops_go_back_and_are_freed_without_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    before = nodes_alive()
    assert before >= 100_000
    y.backward()
    assert x.grad.item() == 1.0
    assert nodes_alive() <= before - 99_999
    for _ in range(100_000):
        y = y + 1.0
    # A graph that is dropped without a walk must not recurse either.
    del y


def test_40_diamonds_in_a_row_take_as_many_rules_as_ops() -> None:
    x = leaf(1.0, np.float64)
    y = x
    for _ in range(40):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**40


def test_many_pieces_of_one_tensor_make_one_array_of_zeros(monkeypatch) -> None:
    made = []
    forward = ops.place.forward
    monkeypatch.setattr(ops.place, "forward", lambda g, **k: (made.append(1), forward(g, **k))[1])
    x = leaf(np.arange(50.0), np.float64)
    y = x * 1
    grad(sum(y[i] * i for i in range(50)), x)
    assert len(made) == 1


def test_pieces_add_up_with_every_other_use_and_change_no_gradient_of_others() -> None:
    rng = np.random.default_rng(0)
    x = leaf(rng.standard_normal((3, 4)), np.float64)
    seen = []

    def f(x: Tensor) -> Tensor:
        y = x * 1
        z = y + 0  # which is handed the same gradient as y
        if z.requires_grad:
            z.register_hook(lambda g: seen.append(g.data))
        parts = y[0] * y[1] + y[::2].sum(axis=0) + y[..., 1:3].sum() + y[np.array([0, 0, 2])].prod(axis=0)
        return z.sum() + parts + y[y > 0].sum() + (y * y).sum() + y[-1, 2] + (x.sum() * 1)[None] * x[0]

    check_gradients(f, x)
    seen.clear()
    y = x * 1
    z = y.sum()
    out = z[()] + z[None].sum() + z[()] * z
    (g,) = grad(out, x)
    np.testing.assert_allclose(g.data, 2 + 2 * z.data)


def test_a_diamond_of_two_branches_adds_both_before_going_on() -> None:
    x = leaf(3.0)
    h = x * x
    calls = []
    h.register_hook(lambda g: calls.append(g.item()))
    (h * 2 + h * h).backward()
    assert calls == [2 + 2 * 9.0]
    assert x.grad.item() == 20 * 6.0


def test_nodes_and_values_are_freed_as_the_walk_passes() -> None:
    x = leaf(np.ones(4))
    h = ops.exp(x)
    late, node = ops.exp(h), weakref.ref(h._node)
    values = weakref.ref(late.data)
    seen = []
    h.register_hook(lambda g: seen.append(values() is None))
    y = late * 1.0
    del late
    y.sum().backward()
    assert seen == [True], "what came later in the graph should be gone when the walk reaches h"
    del h, y
    assert node() is None


def test_a_kept_result_keeps_no_history_after_backward() -> None:
    x = leaf(np.ones(4))
    first = x * 2
    node = weakref.ref(first._node)
    y = (first * first).sum()
    del first
    y.backward()
    assert node() is None


# --- using a graph twice ---------------------------------------------------------------------------------------------


def test_a_freed_graph_used_twice_raises_with_the_ops_name() -> None:
    x = leaf(2.0)
    y = ops.exp(x)
    y.backward()
    with pytest.raises(RuntimeError, match=r"exp: this graph was already walked.*retain_graph=True"):
        y.backward()
    assert x.grad.item() == np.exp(np.float32(2))


def test_a_part_that_was_freed_earlier_is_noticed_from_a_new_output() -> None:
    x = leaf(2.0)
    h = ops.exp(x)
    h.backward()
    y = h * 3
    with pytest.raises(RuntimeError, match="exp: this graph was already walked"):
        y.backward()
    with pytest.raises(RuntimeError, match="exp: this graph was already walked"):
        grad(y, x)


def test_retain_graph_allows_a_second_walk_and_gradients_accumulate() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0


# --- changes in place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda x: setattr(x, "data", np.zeros(3, np.float32)),
        lambda x: x.copy_(Tensor([5.0, 5.0, 5.0])),
        lambda x: x.__setitem__(0, 5.0),
        lambda x: x.zero_(),
        lambda x: x.fill_(2.0),
        lambda x: x.detach().zero_(),
        lambda x: x.detach().reshape(3, 1).zero_(),
        lambda x: x.detach()[1:].zero_(),
        lambda x: x.detach().__iadd__(1),
    ],
    ids=["data=", "copy_", "setitem", "zero_", "fill_", "detach", "reshaped view", "slice view", "+="],
)
def test_a_saved_value_changed_in_place_raises_with_the_ops_name(change) -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = ops.sin(x)
    with no_grad():
        change(x)
    with pytest.raises(RuntimeError, match=r"sin: a value that its gradient needs was changed in place"):
        y.sum().backward()
    assert x.grad is None


def test_a_saved_output_changed_in_place_raises_too() -> None:
    x = leaf([1.0, 2.0])
    y = ops.exp(x)
    with no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match="exp: a value"):
        y.sum().backward()


def test_a_change_before_the_second_walk_raises_too() -> None:
    x = leaf([1.0, 2.0])
    y = x * 1
    (g,) = grad((y**3).sum(), y, create_graph=True)
    with no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        grad(g.sum(), y)


def test_a_change_of_a_constant_before_the_second_walk_raises_too() -> None:
    x, c = leaf([1.0, 2.0]), tensor([3.0, 4.0])
    (g,) = grad(((x * c) ** 3).sum(), x, create_graph=True)
    c.zero_()
    with pytest.raises(RuntimeError, match="multiply: a value that its gradient needs was changed in place"):
        grad(g.sum(), x)


def test_a_change_of_an_operand_of_einsum_before_the_second_walk_raises_too() -> None:
    x, c = leaf([1.0, 2.0]), tensor([3.0, 4.0])
    y = x * 1
    (g,) = grad(ops.einsum("i,i,i->", y, y, c), y, create_graph=True)
    c.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        grad(g.sum(), x)


def test_a_change_of_a_value_that_no_rule_needs_is_harmless() -> None:
    x = leaf([1.0, 2.0])
    y = x + 1
    with no_grad():
        x.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_an_index_changed_after_its_use_does_not_change_the_gradient() -> None:
    x, index = leaf([1.0, 2.0, 3.0]), tensor([0, 0])
    y = x[index]
    index[0] = 2
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 0.0]


def test_a_leaf_that_requires_a_gradient_refuses_changes_while_recording() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"\+=: cannot change.*no_grad\(\)"):
        x += 1
    with pytest.raises(RuntimeError, match="assignment to an element"):
        x[0] = 1.0
    assert x.tolist() == [1.0, 2.0]


def test_augmented_assignment_on_a_result_is_recorded() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2
    y += x
    y *= 3
    y -= 1
    y /= 2
    y.sum().backward()
    assert y.tolist() == [4.0, 8.5]
    assert x.grad.tolist() == [4.5, 4.5]


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_hooks_run_in_order_and_replace_the_gradient() -> None:
    x = leaf([1.0, 2.0])
    order = []
    x.register_hook(lambda g: order.append("first"))
    x.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: order.append(g.tolist()))
    (x * 3).sum().backward()
    assert order == ["first", [30.0, 30.0]]
    assert x.grad.tolist() == [30.0, 30.0]


def test_a_removed_hook_runs_no_more_and_removing_twice_is_harmless() -> None:
    x = leaf(1.0)
    calls = []
    handle = x.register_hook(lambda g: calls.append(1))
    handle.remove()
    handle.remove()
    with x.register_hook(lambda g: calls.append(2)):
        (x * 1).backward()
    (x * 1).backward()
    assert calls == [2]


def test_a_hook_sees_the_gradient_of_a_result() -> None:
    x = leaf(2.0)
    h = x * x
    h.register_hook(lambda g: g * 0)
    (h * 5).backward()
    assert x.grad.item() == 0.0


def test_a_hook_that_returns_something_else_is_refused_and_no_grad_changes() -> None:
    x, w = leaf([1.0, 2.0]), leaf([1.0, 1.0])
    h = x * 2
    h.retain_grad()
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"a hook must return None or a gradient of float32 \(2,\), not float32 \(\)"):
        (h * w).sum().backward()
    assert x.grad is w.grad is h.grad is None


def test_hooks_need_something_to_wait_for() -> None:
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        tensor(1.0).register_hook(print)
    with pytest.raises(TypeError, match="needs a function"):
        leaf(1.0).register_hook(3)


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(2.0)
    h = x * x
    assert h.grad is None
    h.retain_grad()
    (h * 5).backward()
    assert h.grad.item() == 5.0
    assert x.grad.item() == 20.0


# --- accumulation and ownership --------------------------------------------------------------------------------------


def test_gradients_accumulate_in_place_into_what_was_there() -> None:
    x = leaf([1.0, 2.0])
    (x * 2).sum().backward()
    held = x.grad
    (x * 3).sum().backward()
    assert x.grad is held
    assert held.tolist() == [5.0, 5.0]


def test_accumulation_is_a_change_in_place_that_is_noticed() -> None:
    x = leaf([1.0, 2.0])
    (x * 2).sum().backward()
    step = (x.grad * x).sum()
    (x * 2).sum().backward()
    with pytest.raises(RuntimeError, match="multiply: a value that its gradient needs was changed in place"):
        step.backward()


def test_leaves_do_not_share_the_memory_of_their_gradients() -> None:
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    incoming = np.ones(2, np.float32)
    for create_graph in (False, True):
        a.grad = b.grad = None
        (a + b).backward(Tensor(incoming), create_graph=create_graph)
        assert not np.shares_memory(a.grad.data, b.grad.data)
        assert not np.shares_memory(a.grad.data, incoming)


def test_grad_returns_memory_of_its_own() -> None:
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    incoming = np.ones(2, np.float32)
    for create_graph in (False, True):
        ga, gb = grad(a + b, (a, b), Tensor(incoming), create_graph=create_graph)
        assert not np.shares_memory(ga.data, gb.data)
        assert not np.shares_memory(ga.data, incoming)


def test_gradients_of_a_broadcast_can_be_written_to() -> None:
    x = leaf(np.ones((2, 3)))
    x.sum().backward()
    x.grad.zero_()
    assert not x.grad.data.any()


# --- grad ------------------------------------------------------------------------------------------------------------


def test_grad_touches_no_grad_attribute() -> None:
    x = leaf(3.0)
    h = x * x
    h.retain_grad()
    (g,) = grad(h * 2, x)
    assert g.item() == 12.0
    assert x.grad is h.grad is None


def test_grad_of_a_result_runs_and_frees_only_what_leads_to_it() -> None:
    x, w = leaf(3.0), leaf(2.0)
    h = ops.exp(x)
    calls = []
    h.register_hook(lambda g: calls.append("h"))
    x.register_hook(lambda g: calls.append("x"))
    w.register_hook(lambda g: calls.append("w"))
    (g,) = grad(h * w, h)
    assert g.item() == 2.0
    assert calls == ["h"]
    h.backward()
    assert x.grad.item() == pytest.approx(np.exp(3.0))


def test_grad_frees_what_it_walked_unless_told_to_retain_it() -> None:
    x = leaf(3.0)
    y = ops.exp(x)
    grad(y, x, retain_graph=True)
    grad(y, x)
    with pytest.raises(RuntimeError, match="exp: this graph was already walked"):
        grad(y, x)


def test_grad_of_several_outputs_adds_them() -> None:
    x = leaf([1.0, 2.0])
    found = grad([x * 2, (x * x).sum()], x, [Tensor([1.0, 10.0]), None])
    assert found[0].tolist() == [4.0, 24.0]


def test_grad_of_an_output_with_respect_to_itself_is_what_arrives() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2
    assert grad(y, y, Tensor([5.0, 6.0]))[0].tolist() == [5.0, 6.0]
    assert grad(x, x, Tensor([5.0, 6.0]))[0].tolist() == [5.0, 6.0]


def test_grad_of_an_input_and_of_a_result_on_the_way() -> None:
    x = leaf(3.0)
    h = x * x
    gx, gh = grad(h * h, (x, h))
    assert (gx.item(), gh.item()) == (4 * 27.0, 18.0)


def test_an_unused_input_raises_unless_allowed() -> None:
    x, other = leaf(1.0), leaf([1.0, 2.0])
    y = x * 2
    with pytest.raises(RuntimeError, match=r"no output depends on input 1, of shape \(2,\).*allow_unused=True"):
        grad(y, (x, other), retain_graph=True)
    gx, gother = grad(y, (x, other), allow_unused=True)
    assert gx.item() == 2.0
    assert gother is None


def test_grad_names_an_iterator_that_was_used_up() -> None:
    x = leaf(3.0)
    once = iter([x])
    list(once)
    with pytest.raises(ValueError, match="grad: the list of inputs is empty: the iterator"):
        grad(x * x, (each for each in once))
    with pytest.raises(ValueError, match="grad: the list of inputs is empty: the iterator"):
        grad(x * x, once)


def test_grad_says_what_is_wrong_with_its_arguments() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"grad: a tensor of shape \(2,\) needs a gradient of that shape"):
        grad(x * 2, x)
    with pytest.raises(ValueError, match=r"the gradient has shape \(3,\), the output \(2,\)"):
        grad(x * 2, x, Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="2 grad_outputs for 1 outputs"):
        grad(x.sum(), x, [None, None])
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        grad(x.sum(), tensor(1.0))
    with pytest.raises(RuntimeError, match="output 0 does not require a gradient"):
        grad(tensor(1.0), x)
    with pytest.raises(TypeError, match="inputs must be tensors, not float"):
        grad(x.sum(), [1.0])
    with pytest.raises(TypeError, match="did you mean 'create_graph'"):
        grad(x.sum(), x, create_grpah=True)


# --- higher orders ---------------------------------------------------------------------------------------------------


def test_create_graph_to_third_order_and_beyond() -> None:
    x = leaf(2.0, np.float64)
    derivative = x**5
    expected = [5 * 2**4, 20 * 2**3, 60 * 2**2, 120 * 2, 120]
    for value in expected:
        (derivative,) = grad(derivative, x, create_graph=True)
        assert derivative.item() == pytest.approx(value)


def test_backward_with_create_graph_leaves_a_gradient_that_can_be_differentiated() -> None:
    x = leaf([1.0, 2.0], np.float64)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.tolist() == [3.0, 12.0]
    (second,) = grad(x.grad.sum(), x)
    assert second.tolist() == [6.0, 12.0]


def test_a_gradient_penalty_trains_through_the_gradient() -> None:
    w = leaf(np.random.default_rng(0).standard_normal((3, 2)), np.float64)

    def penalty(w: Tensor) -> Tensor:
        x = tensor([[0.5, -1.0, 2.0]], dtype=np.float64, requires_grad=True)
        (g,) = grad(ops.tanh(x @ w).sum(), x, create_graph=True)
        return (g * g).sum()

    (entry,) = check_gradients(penalty, w, order=1).entries
    assert entry.method == "central difference", "x is real, so a complex step cannot pass through its gradient"


# --- modes -----------------------------------------------------------------------------------------------------------


def test_no_grad_records_nothing_and_enable_grad_records_again() -> None:
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2).requires_grad
        with enable_grad():
            assert (x * 2).requires_grad
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_modes_decorate_functions_also_recursive_ones() -> None:
    x = leaf(1.0)

    @no_grad()
    def countdown(n: int) -> bool:
        return (x * 2).requires_grad if n == 0 else countdown(n - 1)

    @enable_grad()
    def recorded() -> bool:
        return (x * 2).requires_grad

    assert not countdown(3)
    with no_grad():
        assert recorded()
    assert is_grad_enabled()


def test_one_decorator_serves_several_threads_at_once() -> None:
    entered, left, seen = threading.Event(), threading.Event(), {}

    same = no_grad()

    @same
    def outer() -> None:
        second_thread.start()
        entered.wait(10)

    @same
    def inner() -> None:
        entered.set()
        left.wait(10)

    def second() -> None:
        inner()
        seen["second"] = is_grad_enabled()

    second_thread = threading.Thread(target=second)
    with set_grad_enabled(False):
        outer()  # enters first and leaves first
        seen["first"] = is_grad_enabled()
    left.set()
    second_thread.join()
    assert seen == {"first": False, "second": True}


def test_modes_decorate_without_parentheses_and_refuse_what_is_no_function() -> None:
    @no_grad
    def off(n: int) -> tuple[int, bool]:
        return n, is_grad_enabled()

    assert off(3) == (3, False)
    assert off.__name__ == "off"
    with no_grad():
        assert enable_grad(is_grad_enabled)()
    with pytest.raises(TypeError, match="no_grad: decorates functions"):
        no_grad(3)
    with pytest.raises(TypeError, match="no_grad: cannot decorate an async"):

        @no_grad()
        async def later() -> None: ...


def test_a_decorated_generator_runs_in_the_mode_and_its_caller_does_not() -> None:
    log = []

    @no_grad()
    def numbers():
        try:
            log.append(is_grad_enabled())
            got = yield 1
            log.append((got, is_grad_enabled()))
            try:
                yield 2
            except KeyError:
                log.append(is_grad_enabled())
            yield 3
        finally:
            log.append(is_grad_enabled())

    g = numbers()
    assert next(g) == 1
    assert is_grad_enabled()
    assert g.send("sent") == 2
    assert g.throw(KeyError()) == 3
    g.close()
    assert is_grad_enabled()
    assert log == [False, ("sent", False), False, False]


def test_set_grad_enabled_is_a_statement_too() -> None:
    try:
        set_grad_enabled(False)
        assert not is_grad_enabled()
        with set_grad_enabled(True):
            assert is_grad_enabled()
        assert not is_grad_enabled()
    finally:
        set_grad_enabled(True)
    decorated = set_grad_enabled(False)(is_grad_enabled)
    assert is_grad_enabled()
    assert not decorated()
    assert is_grad_enabled()
    with pytest.raises(TypeError, match="True or False"):
        set_grad_enabled("off")


def test_a_mode_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_a_mode_holds_for_its_own_thread_only() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf(1.0) * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_can_walk_their_own_graphs_at_once() -> None:
    found = {}

    def work(i: int) -> None:
        x = leaf(float(i))
        for _ in range(50):
            x.grad = None
            (x * x * x).backward()
        found[i] = x.grad.item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: 3.0 * i * i for i in range(4)}


# --- errors of backward ----------------------------------------------------------------------------------------------


def test_backward_needs_a_gradient_for_more_than_one_number() -> None:
    with pytest.raises(RuntimeError, match=r"backward: a tensor of shape \(2,\) needs a gradient.*\.sum\(\)"):
        (leaf([1.0, 2.0]) * 2).backward()


def test_backward_takes_a_gradient_of_the_outputs_shape() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"the gradient has shape \(\), the output \(2,\)"):
        (x * 2).backward(1.0)
    (x * 2).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 20.0]


def test_backward_needs_something_that_requires_a_gradient() -> None:
    with pytest.raises(RuntimeError, match="does not depend on any tensor with requires_grad=True"):
        tensor(1.0).backward()


def test_an_argument_misspelled_is_refused() -> None:
    with pytest.raises(TypeError, match="retain_grpah"):
        (leaf(1.0) * 1).backward(retain_grpah=True)
    with pytest.raises(TypeError, match=r"sum: .*axes"):
        ops.sum(leaf([1.0]), axes=0)


# --- check_gradients -------------------------------------------------------------------------------------------------


def test_the_report_names_the_worst_entry_of_each_input() -> None:
    report = check_gradients(lambda a, b: a * b.detach(), [Tensor([2.0, 3.0]), Tensor([1.0, 4.0])], order=1,
                             raise_exception=False)  # fmt: skip
    right, wrong = report.entries
    assert right.ok
    assert right.position == 0
    assert not wrong.ok
    assert (wrong.position, wrong.analytic) == (1, 0.0)
    assert abs(wrong.numeric) > 1
    assert wrong.error == abs(wrong.numeric)
    assert not report
    assert f"WRONG input 1, order 1: worst at {wrong.index}: analytic 0" in str(report)
    with pytest.raises(GradientError) as caught:
        check_gradients(lambda a: a * a.detach(), Tensor([2.0]))
    assert caught.value.report.entries


def test_a_kink_is_named_and_any_slope_between_its_sides_is_right() -> None:
    report = check_gradients(ops.relu, Tensor([0.0, 1.0]), order=1)
    left, right = report.entries[0].kink
    assert report.ok
    assert left == 0
    assert 0.5 <= abs(right) <= 1.5, "the weight of the output"
    assert "straddles a kink" in str(report)


def test_a_step_across_a_kink_nearby_is_named_too() -> None:
    report = check_gradients(ops.relu, Tensor(np.array([1e-6, 1.0])))
    assert report.ok
    assert report.entries[0].kink is not None


def test_a_wrong_gradient_at_a_kink_is_still_wrong() -> None:
    with pytest.raises(GradientError, match="straddles a kink"):
        check_gradients(lambda x: ops.relu(x) + x * 5 - x.detach() * 5, Tensor([0.0]), order=1)


def test_the_complex_step_is_used_where_all_is_analytic_only() -> None:
    assert check_gradients(ops.tanh, Tensor([0.3])).entries[0].method == "complex step"
    assert check_gradients(lambda x: ops.relu(x).tanh(), Tensor([0.3])).entries[0].method == "central difference"


def test_inputs_are_copied_and_integers_passed_on() -> None:
    x, labels = leaf([[1.0, 2.0], [0.5, 1.0]]), tensor([0, 1])
    check_gradients(ops.cross_entropy, [x, labels])
    assert x.dtype == np.float32
    assert x.grad is None


def test_a_function_that_cannot_be_checked_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="gave other values when called again"):
        check_gradients(lambda x: x * rng.standard_normal(), Tensor([1.0]))
    with pytest.raises(ValueError, match="no output depends on an input"):
        check_gradients(lambda x: x.detach() * 2, Tensor([1.0]))
    with pytest.raises(ValueError, match="no input is of a float dtype"):
        check_gradients(lambda x: x, tensor([1, 2]))
    with pytest.raises(ValueError, match="order must be 1 or 2"):
        check_gradients(ops.tanh, Tensor([1.0]), order=3)


def test_several_outputs_are_checked_together() -> None:
    assert check_gradients(lambda x, y: (x * y, x.exp()), [Tensor([1.0, 2.0]), Tensor([0.5, 3.0])])
