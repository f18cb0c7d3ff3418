"""RNN, LSTM and GRU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..attributes import argument, fixed, setting
from ..autograd.as_array import DEFAULT_DTYPE
from ..autograd.tensor import Tensor
from ..checks import choice, flag, number, whole
from ..devices.arrays import namespace, namespace_on
from ..ops.linalg import linear
from ..ops.shape import concatenate, stack, transpose
from . import functional as F
from . import init
from ._inputs import check_input
from .module import CONVERT, Module
from .parameter import Parameter

__all__ = ["GRU", "LSTM", "RNN"]

State = tuple[Any, ...]  # tensors; at first, arrays of zeros
Weights = tuple[Parameter, Parameter, Parameter | None, Parameter | None]


def _dropout(layer: Any, name: str, value: Any) -> float:
    """A probability that needs a second layer to be positive, since dropout acts between layers."""
    value = number(layer, name, value, low=0, high=1)
    if value and layer.num_layers == 1:
        raise ValueError(f"{type(layer).__name__}: dropout acts between layers, so it needs num_layers of at least 2")
    return value


class _Recurrent(Module):
    """Base of RNN, GRU and LSTM: parameters, layers, directions, and the loop over time.

    A subclass defines ``gates``, the number of blocks of rows in its weights, ``states``, the number of tensors that
    it carries from step to step, and ``step``.
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    input_size: int = fixed(whole)
    hidden_size: int = fixed(whole)
    num_layers: int = fixed(whole)
    bias: bool = fixed(flag)
    batch_first: bool = setting(flag)
    dropout: float = setting(_dropout)
    bidirectional: bool = fixed(flag)
    dtype, device = argument(CONVERT), argument(CONVERT)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        rows = self.gates * hidden_size
        library = namespace_on(device)
        for layer in range(num_layers):
            columns = input_size if layer == 0 else hidden_size * self._directions
            for suffix in self._suffixes(layer):
                setattr(self, f"weight_ih{suffix}", Parameter(library.empty((rows, columns), dtype)))
                setattr(self, f"weight_hh{suffix}", Parameter(library.empty((rows, hidden_size), dtype)))
                setattr(self, f"bias_ih{suffix}", Parameter(library.empty(rows, dtype)) if bias else None)
                setattr(self, f"bias_hh{suffix}", Parameter(library.empty(rows, dtype)) if bias else None)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def reset_parameters(self) -> None:
        """Draw all weights and biases again from U(−k, k), k = 1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def step(self, x: Any, state: State, weights: Weights) -> State:
        """Return the new state of one layer, whose first tensor is its output, from the input and the old state."""
        raise NotImplementedError

    def forward(self, x: Any, h_0: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs of the last layer at every step, and the last state of every layer and direction."""
        if h_0 is not None:
            self._check_state("h_0", h_0, x)
        output, (h_n,) = self._run(x, None if h_0 is None else (h_0,))
        return output, h_n

    def _run(self, x: Any, initial: Sequence[Any] | None) -> tuple[Tensor, list[Tensor]]:
        """Return the output and the final states. They and ``initial`` are stacked over layers and directions."""
        self._check(x)
        batched = x.ndim == 3
        if not batched:
            x = x[:, None, :]
            initial = None if initial is None else [s[:, None, :] for s in initial]
        elif self.batch_first:
            x = transpose(x, axis0=0, axis1=1)
        # A list of steps from layer to layer, since stacking them would only be undone by the next layer.
        steps: list[Any] = [x[t] for t in range(x.shape[0])]
        final: list[State] = []
        zeros = namespace(x).zeros((x.shape[1], self.hidden_size), self.weight_dtype)
        for layer in range(self.num_layers):
            if layer:
                steps = [F.dropout(s, self.dropout, self.training) for s in steps]
            outputs = []
            for suffix in self._suffixes(layer):
                state: State = (zeros,) * self.states
                if initial is not None:
                    state = tuple(s[len(final)] for s in initial)
                hidden, state = self._scan(steps, state, suffix)
                outputs.append(hidden)
                final.append(state)
            steps = outputs[0] if len(outputs) == 1 else [concatenate(*p, axis=-1) for p in zip(*outputs, strict=True)]
        output = stack(*steps, axis=1 if batched and self.batch_first else 0)
        finals = [stack(*(state[i] for state in final), axis=0) for i in range(self.states)]
        if not batched:
            return output[:, 0], [f[:, 0] for f in finals]
        return output, finals

    def _scan(self, steps: list[Any], state: State, suffix: str) -> tuple[list[Any], State]:
        """Run one cell over all steps in its direction; return its outputs in the order of ``steps``, and its state."""
        backwards = suffix.endswith("reverse")
        weights: Weights = (
            getattr(self, "weight_ih" + suffix),
            getattr(self, "weight_hh" + suffix),
            getattr(self, "bias_ih" + suffix),
            getattr(self, "bias_hh" + suffix),
        )
        hidden = []
        for step in reversed(steps) if backwards else steps:
            state = self.step(step, state, weights)
            hidden.append(state[0])
        return hidden[::-1] if backwards else hidden, state

    @property
    def weight_dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters."""
        return self.weight_ih_l0.dtype  # type: ignore[attr-defined]  # set by name in __init__

    def _describe(self) -> str:
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size})"

    def _check(self, x: Any) -> None:
        check_input(self._describe(), x)
        layout = "(N, L, {})" if self.batch_first else "(L, N, {})"
        layout = layout.format(self.input_size)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{self._describe()}: got input of shape {x.shape}; it needs {layout}, or (L, {self.input_size}) "
                "without a batch"
            )
        if not x.shape[1 if self.batch_first and x.ndim == 3 else 0]:
            raise ValueError(f"{self._describe()}: got empty input of shape {x.shape}; it needs at least one step")

    def _check_state(self, name: str, state: Any, x: Any) -> None:
        """Raise unless an initial state has the shape that the input asks for."""
        self._check(x)
        check_input(f"{self._describe()}: {name}", state)
        count = self.num_layers * self._directions
        batch = () if x.ndim == 2 else (x.shape[0 if self.batch_first else 1],)
        needed = (count, *batch, self.hidden_size)
        if state.shape != needed:
            raise ValueError(f"{self._describe()}: {name} has shape {state.shape}; input {x.shape} needs {needed}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        text += "".join(f", {k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)
        return text if self.bias else text + ", bias=False"


class RNN(_Recurrent):
    """The Elman network hₜ = f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), f being tanh or relu.

    Input is ``(L, N, input_size)``, or ``(N, L, input_size)`` with ``batch_first``, or ``(L, input_size)`` without a
    batch. The output has ``hidden_size`` (twice that if bidirectional) in place of ``input_size``. A state has shape
    ``(num_layers · directions, N, hidden_size)``, also with ``batch_first``, and is 0 at first if none is given.
    Parameters are named as in PyTorch: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, then the
    same with ``_reverse``, then ``_l1`` and so on. All start from U(−k, k), k = 1/√hidden_size.

    Args:
        input_size: the size of an input vector.
        hidden_size: the size of a state vector.
        num_layers: the number of stacked cells, each of which reads the outputs of the previous one.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether to add b_ih and b_hh.
        batch_first: whether the batch is the first axis of input and output.
        dropout: the probability of zeroing an output on its way to the next layer, in training.
        bidirectional: whether a second cell reads the sequence backwards; the outputs are concatenated.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, unknown names, or input or states of the wrong shape.
        TypeError: for integer input.

    >>> layer = nn.RNN(3, 8)
    >>> output, h = layer(minigrad.ones(5, 2, 3))  # 5 steps of 2 sequences
    >>> output.shape, h.shape
    ((5, 2, 8), (1, 2, 8))
    """

    gates = 1
    nonlinearity: str = setting(choice, known=("tanh", "relu"))

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, device)

    def step(self, x: Any, state: State, weights: Weights) -> State:
        w_ih, w_hh, b_ih, b_hh = weights
        (h,) = state
        total = linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)
        return (F.tanh(total) if self.nonlinearity == "tanh" else F.relu(total),)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}")


class GRU(_Recurrent):
    """The gated recurrent unit: Cho et al. 2014, arXiv 1406.1078, with PyTorch's reset gate.

    With aᵢ = W_i xₜ + b_i and aₕ = W_h hₜ₋₁ + b_h, each in three blocks of rows for the gates r, z and n::

        r = σ(aᵢ_r + aₕ_r)    z = σ(aᵢ_z + aₕ_z)    n = tanh(aᵢ_n + r · aₕ_n)    hₜ = (1 − z) · n + z · hₜ₋₁

    Shapes, names and other arguments are as for `RNN`.

    >>> layer = nn.GRU(3, 8)
    >>> output, h = layer(minigrad.ones(5, 2, 3))  # 5 steps of 2 sequences
    >>> output.shape, h.shape
    ((5, 2, 8), (1, 2, 8))
    """

    gates = 3

    def step(self, x: Any, state: State, weights: Weights) -> State:
        w_ih, w_hh, b_ih, b_hh = weights
        (h,) = state
        size = self.hidden_size
        from_x, from_h = linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)
        both = F.sigmoid(from_x[:, : 2 * size] + from_h[:, : 2 * size])
        r, z = both[:, :size], both[:, size:]
        n = F.tanh(from_x[:, 2 * size :] + r * from_h[:, 2 * size :])
        return (n + z * (h - n),)


class LSTM(_Recurrent):
    """Long short-term memory: Hochreiter and Schmidhuber 1997, with forget gates.

    With a = W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh in four blocks of rows for the gates i, f, g and o::

        cₜ = σ(a_f) · cₜ₋₁ + σ(a_i) · tanh(a_g)    hₜ = σ(a_o) · tanh(cₜ)

    Shapes, names and other arguments are as for `RNN`; there are two states, h and c.

    >>> layer = nn.LSTM(3, 8)
    >>> output, (h, c) = layer(minigrad.ones(5, 2, 3))  # 5 steps of 2 sequences
    >>> output.shape, h.shape
    ((5, 2, 8), (1, 2, 8))
    """

    gates = 4
    states = 2

    def step(self, x: Any, state: State, weights: Weights) -> State:
        w_ih, w_hh, b_ih, b_hh = weights
        h, c = state
        size = self.hidden_size
        total = linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)
        i_f, g = F.sigmoid(total[:, : 2 * size]), F.tanh(total[:, 2 * size : 3 * size])
        c = i_f[:, size:] * c + i_f[:, :size] * g
        return F.sigmoid(total[:, 3 * size :]) * F.tanh(c), c

    def forward(self, x: Any, initial: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs of the last layer at every step, and the last (h, c); ``initial`` is a pair (h_0, c_0)."""
        if initial is not None:
            if not isinstance(initial, tuple | list) or len(initial) != 2:
                raise TypeError(f"{self._describe()}: the initial state must be a pair (h_0, c_0)")
            self._check_state("h_0", initial[0], x)
            self._check_state("c_0", initial[1], x)
        output, (h_n, c_n) = self._run(x, initial)
        return output, (h_n, c_n)
