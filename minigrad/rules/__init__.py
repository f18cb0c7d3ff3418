"""Rules and norms: the elements of a chain.

A rule is an update written once, on scalars, in the notation of its paper. Its source is parsed: kernels are generated
from the text that a reader sees, and the same text runs as plain Python.

    @rule(state=("momentum_buffer",))
    def heavy_ball(update, momentum_buffer, *, momentum):
        momentum_buffer = momentum * momentum_buffer + update
        update = momentum_buffer
        return update, momentum_buffer

Positional arguments are scalars of the parameter's dtype: ``update`` (the running update, at first the gradient),
``param``, ``grad``, the rule's state, and norms taken earlier in the chain (``param_norm``). Keyword-only arguments are
Python floats: options of the param group, or scalars that ``scalars`` computes from the step. An expression of these
alone is computed in float64 and rounded once, so ``1 - beta2`` keeps its digits in a float32 model.
"""

from .elements import Norm, Rule, norm
from .functions import exp, log, maximum, minimum, sign, sqrt
from .parser import RuleError, rule

__all__ = ["Norm", "Rule", "RuleError", "exp", "log", "maximum", "minimum", "norm", "rule", "sign", "sqrt"]
