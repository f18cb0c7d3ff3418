"""From a plan to source to a compiled kernel. Kernels know plans and arrays, not algorithms."""
