"""Automatic differentiation: tensors, the graph that operations on them record, and the walk back over it.

The public names are those of `minigrad` itself. They are not repeated here: `tensor`, the function, would hide
`minigrad.autograd.tensor`, the module.
"""
