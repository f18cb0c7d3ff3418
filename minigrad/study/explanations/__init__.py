"""Explanations: every term of what one step did to one weight, and complete listings of algorithms."""

from ...optim.explanation import Check, Explanation, Term
from .algorithm import Algorithm, explain

__all__ = ["Algorithm", "Check", "Explanation", "Term", "explain"]
