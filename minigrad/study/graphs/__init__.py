"""Drawings of the computational graph: `trace` records the operations, and `draw_graph` draws them."""
