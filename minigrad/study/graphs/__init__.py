"""Drawings of the computational graph."""
