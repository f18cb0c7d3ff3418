"""Rules and norms: the two things that a chain is made of.

A rule is an update written once, on scalars, in the notation of its paper. It is parsed, never guessed at: the
text that a reader sees is what the kernels are generated from, and what runs as plain Python.

    @rule(state=("momentum_buffer",))
    def heavy_ball(update, momentum_buffer, *, momentum):
        momentum_buffer = momentum * momentum_buffer + update
        update = momentum_buffer
        return update, momentum_buffer

Positional arguments are scalars of the parameter's dtype: ``update`` (the running update, at first the gradient),
``param``, ``grad``, the rule's state, and norms that stand earlier in the chain (``param_norm``). Keyword-only
arguments are Python floats: options of the param group, or what ``scalars`` computes from the step. What depends
on these alone is computed in float64 and rounded once, so ``1 - beta2`` keeps its digits in a float32 model.
"""

from .functions import exp, log, maximum, minimum, sign, sqrt
from .language import Norm, Rule, norm
from .parser import RuleError, rule

__all__ = ["Norm", "Rule", "RuleError", "exp", "log", "maximum", "minimum", "norm", "rule", "sign", "sqrt"]
