"""Drawings of the computational graph: `trace` notes what is computed, and `draw_graph` draws it."""
