"""Explanations: every term of what one step did to one weight, and complete listings of algorithms."""

from .algorithm import Algorithm, explain
from .explanation import Check, Explanation, Term

__all__ = ["Algorithm", "Check", "Explanation", "Term", "explain"]
