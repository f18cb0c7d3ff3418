"""The recorded graph and the walk that differentiates it.

The forward pass makes a `Node` for each application of a primitive to something that requires a gradient. The walk
visits the nodes from the last one recorded to the first, runs the gradient rules, adds up the gradients that arrive at
each place, and frees every node that it has passed. In essence::

    gradients ← {output: seed}
    for node in reversed(collect([output])):       (an input of a node was recorded before the node)
        g ← gradients.pop(node)
        for rule, edge in zip(node.rules, node.edges):
            gradients[edge] ← gradients.get(edge, 0) + rule(g, node.saved)
    the remaining gradients belong to the leaves

The rest handles gradients that are not needed, hooks, observers, values that were changed in place, sums in place
where the array is not shared, and errors. The walk knows arrays and primitives, not tensors: the caller supplies the
wrapper of values for a walk that is itself recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from ..devices.cuda import translated
from ..devices.summation import add_up
from ..ops.elementwise import add
from ..ops.primitive import ALL_VALUES, Primitive, Recipe, Traced
from ..ops.reduction import sum, sum_to_shape
from .observers import Observer, watching

# One clock for recording and for changes in place: a value is stale for a node if it changed at a later tick.
tick = itertools.count(1).__next__


# The key in a node's hooks for a weak reference to its tensor, if `backward` is to keep its gradient.
RETAIN = -1

# A version cell: the tick of the last change in place, and weak references to the tensors that share the memory.
Version = list[Any]

# A place where gradients arrive: a node, or a leaf, which is a tensor that requires a gradient and was not computed.
# Both have a shape, a dtype and ``_hooks``: functions by key, run on the complete gradient, or None.
Edge = Any
Hook = Callable[[Any], Any]
Wrap = Callable[[Any, Edge, Version], Any]

# The cell of values that do not belong to a tensor, which nothing changes.
NO_VERSION: Version = [0]


class Node:
    """One recorded application of a primitive.

    Attributes:
        primitive: the op.
        recipe: which values were saved and which gradient rules will run.
        settings: the keywords of the call.
        edges: for each input the node that made it, the leaf itself, or ``None`` if no gradient is wanted.
        saved: the values that the rules need; ``None`` once the walk has passed and freed them.
        versions: the version cells of the saved values in their order: one for an input or the output, one for each
            input of `ALL_VALUES`; then one for each of the extras that share memory with an input or the output.
        order: the tick of recording; inputs always have a smaller one.
        shape, dtype: of the output.
    """

    __slots__ = (
        "__weakref__",
        "_hooks",
        "dtype",
        "edges",
        "order",
        "primitive",
        "recipe",
        "saved",
        "settings",
        "shape",
        "versions",
    )

    def __init__(
        self,
        primitive: Primitive,
        recipe: Recipe,
        settings: dict[str, Any],
        edges: Sequence[Edge],
        saved: Sequence[Any],
        versions: Sequence[Version],
        out: Any,
    ) -> None:
        self.primitive = primitive
        self.recipe = recipe
        self.settings = settings
        self.edges = edges
        self.saved: Sequence[Any] | None = saved
        self.versions = versions
        self.order = tick()
        self.shape: tuple[int, ...] = out.shape
        self.dtype = out.dtype
        self._hooks: dict[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"<node {self.primitive.name} {self.dtype} {self.shape}>"

    def check(self) -> None:
        """Raise RuntimeError if the node was freed, or if a saved value was changed since."""
        if self.saved is None:
            raise RuntimeError(
                f"{self.primitive.name}: this graph was already walked and its saved values freed; "
                "pass retain_graph=True to the first backward() or grad() to walk it twice"
            )
        for version in self.versions:
            if version[0] > self.order:
                raise RuntimeError(
                    f"{self.primitive.name}: a value that its gradient needs was changed in place after the "
                    f"forward pass (output shape {self.shape}); run the forward pass again, or make the change "
                    "on a copy or after backward()"
                )

    def tensor(self) -> Any:
        """The tensor whose gradient `backward` is to keep, if it still exists."""
        return None if self._hooks is None else self._hooks[RETAIN]()

    def release(self) -> None:
        """Free the saved values and the references to earlier nodes."""
        self.saved = None
        self.versions = ()
        self.edges = ()

    def traced_saved(self, wrap: Wrap) -> list[Any]:
        """The saved values with their history, so that rules applied to them are recorded in turn.

        Each keeps its version cell, so that the nodes recorded by the rules notice a change too.
        """
        assert self.saved is not None
        arity, traced, cells = self.recipe.arity, [], iter(self.versions)
        for source, value in zip(self.recipe.sources, self.saved, strict=True):
            if source == ALL_VALUES:
                value = tuple(wrap(v, e, next(cells)) for v, e in zip(value, self.edges, strict=True))
            elif source == arity:
                value = wrap(value, self, next(cells))
            elif 0 <= source < arity:
                cell = next(cells)
                if not self.primitive.is_discrete(source):  # rules take labels, indices and masks unchanged
                    value = wrap(value, self.edges[source], cell)
            traced.append(value)
        for place, bound in self.recipe.recomputed.items():
            keywords = {name: self.settings[name] for name in bound.settings}
            traced[place] = bound.rule(*[traced[p] for p in bound.places], **keywords)
        return traced


def collect(roots: Iterable[Edge]) -> list[Node]:
    """All nodes that the roots depend on, inputs before outputs."""
    found = list(dict.fromkeys(edge for edge in roots if type(edge) is Node))
    seen = set(found)
    for node in found:  # the list grows during the loop
        for edge in node.edges:
            if type(edge) is Node and edge not in seen:
                seen.add(edge)
                found.append(edge)
    found.sort(key=attrgetter("order"))
    return found


def _leading_to(nodes: Iterable[Node], wanted: set[Edge]) -> tuple[list[Node], set[Edge]]:
    """The nodes from which a wanted place can be reached, and the set of both; one that was freed counts too."""
    path: list[Node] = []
    useful = set(wanted)
    for node in nodes:
        freed = node.saved is None and node not in wanted
        if freed or any(edge in useful for edge in node.edges if edge is not None):
            path.append(node)
            useful.add(node)
    return path, useful


def walk(
    seeds: Sequence[tuple[Edge, Any]],
    wanted: set[Edge] | None,
    retain: bool,
    wrap: Wrap | None,
    run_hooks: Callable[[Edge, Any], Any],
) -> dict[Edge, Any]:
    """Differentiate: carry the seeds' gradients back through the graph.

    Args:
        seeds: pairs of a place (node or leaf) and the gradient that arrives there.
        wanted: the places whose gradient is returned, and only rules that lead to one of them run; ``None``
            means every leaf.
        retain: keep the saved values for another walk.
        wrap: given when the walk itself is to be recorded: makes a tensor of a value, its place (or
            ``None``) and its version cell.
        run_hooks: called with a place that has hooks and its complete gradient; returns the gradient to continue with.

    Returns:
        The gradients by wanted place, for the places that one arrived at.

    Raises:
        RuntimeError: if part of the graph was freed, or a saved value changed; nothing has been computed then.
        ValueError: if a gradient rule returns a gradient of the wrong shape.
    """
    nodes, useful = collect(edge for edge, _ in seeds), None
    if wanted is not None:
        nodes, useful = _leading_to(nodes, wanted)
    for node in nodes:
        node.check()
    watched = watching()
    try:
        for observer in watched:
            observer.walking(seeds)
        return _carry(seeds, nodes, useful, wanted, retain, wrap, run_hooks, watched)
    finally:
        for observer in watched:
            observer.walked()


def _carry(
    seeds: Sequence[tuple[Edge, Any]],
    nodes: list[Node],
    useful: set[Edge] | None,
    wanted: set[Edge] | None,
    retain: bool,
    wrap: Wrap | None,
    run_hooks: Callable[[Edge, Any], Any],
    watched: tuple[Observer, ...],
) -> dict[Edge, Any]:
    """The walk itself, over nodes that passed their check."""
    gradients: dict[Edge, Any] = {}
    owned: dict[Edge, Any] = {}  # unshared gradients, to which more may be added in place
    result: dict[Edge, Any] = {}
    for edge, g in seeds:
        gradients[edge] = add(gradients[edge], g) if edge in gradients else g
    while nodes:
        node = nodes.pop()
        g = gradients.pop(node, None)
        if g is None:
            continue
        if owned:
            owned.pop(node, None)
        if node._hooks:
            g = run_hooks(node, g)
            if wanted is None and RETAIN in node._hooks:
                result[node] = g
        if wanted is not None and node in wanted:
            result[node] = g
        _run_rules(node, g, gradients, owned, useful, wrap, watched)
        if not retain:
            node.release()
    # The rest arrived at leaves, or at wanted nodes that lead no further.
    for edge, g in gradients.items():
        if wanted is None or edge in wanted:
            result[edge] = run_hooks(edge, g) if edge._hooks else g
    return result


def _run_rules(
    node: Node,
    g: Any,
    gradients: dict[Edge, Any],
    owned: dict[Edge, Any],
    useful: set[Edge] | None,
    wrap: Wrap | None,
    watched: tuple[Observer, ...],
) -> None:
    """Run the gradient rules of one node and add the results to the gradients of its inputs."""
    assert node.saved is not None
    saved = node.saved if wrap is None else node.traced_saved(wrap)
    settings, edges = node.settings, node.edges
    # Observers receive the result of each rule, and adding in place returns none.
    add_at = node.primitive.add_at if wrap is None and not watched else None
    for bound in node.recipe.rules:
        edge = edges[bound.position]
        if useful is not None and edge not in useful:
            continue
        earlier = gradients.get(edge)
        if add_at is not None and earlier is not None and earlier is owned.get(edge) and add_at(earlier, g, **settings):
            continue
        for observer in watched:
            observer.differentiating(node, g)
        try:
            arrived = bound.run(g, saved, settings)
        except Exception as error:
            where = f"the gradient rule of {node.primitive.name} for input {bound.position}"
            error.add_note(f"while running {where}")
            shown = translated(error, where)
            if shown is error:
                raise
            raise shown from error
        shape = edge.shape
        if arrived.shape != shape:
            arrived = _fit(node, bound.position, arrived, shape)
        if arrived.dtype is not edge.dtype and arrived.dtype != edge.dtype:
            arrived = arrived.astype(edge.dtype)
        gradients[edge] = arrived if earlier is None else add(earlier, arrived)
        if add_at is not None:
            owned[edge] = gradients[edge]
        for observer in watched:
            observer.differentiated(node, bound, (g, saved, earlier), gradients[edge])


def _fit(node: Node, position: int, g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting, or raise for a rule that returned a gradient of an impossible shape."""
    extra = len(g.shape) - len(shape)
    if extra >= 0 and g.shape[extra:] == shape:
        axis = tuple(range(extra)) if extra > 1 else 0
        return sum(g, axis=axis) if isinstance(g, Traced) else add_up(g, axis=axis)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, g.shape[extra:], strict=True)):
        raise ValueError(
            f"{node.primitive.name}: the gradient rule for input {position} returned shape {g.shape}, "
            f"but the input has shape {shape}; check the rule"
        )
    return sum_to_shape(g, shape)
