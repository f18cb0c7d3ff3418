"""Methods whose code is in a module that imports the class that has them.

Modules and folders import in one direction only, but ``optimizer.explain()`` needs `minigrad.study`, which is built on
optimizers. Such a method has its signature and its docstring in its class. Its body is a function of the same
parameters elsewhere, which is imported by name at the first call::

    @provided_by("minigrad.study.explanations._update")
    def explain(self, name: str) -> Explanation:
        \"\"\"Explain the last update of one weight.\"\"\"
        raise NotImplementedError
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def provided_by(module: str) -> Callable[[F], F]:
    """Declare a method whose code is the function of the same name in a module.

    Args:
        module: the full name of the module, which must not be imported where the method is declared.
    """

    def declare(declaration: F) -> F:
        @functools.wraps(declaration)
        def method(*args: Any, **keywords: Any) -> Any:
            return getattr(import_module(module), declaration.__name__)(*args, **keywords)

        vars(method)["provided_by"] = module  # for the test that compares the two signatures
        return method  # type: ignore[return-value]  # it has the signature of the declaration

    return declare
