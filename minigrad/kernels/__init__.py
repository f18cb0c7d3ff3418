"""Kernels: plan a chain of rules, lower it to source and compile it. They know plans and arrays, not algorithms."""
