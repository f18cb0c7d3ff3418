"""Compiled training steps: a step is traced once, fused, compiled by LLVM, and then run with the bits of eager.

The path of one product, ``z = x * y`` of two tensors of 40 floats, through the files of this folder:

1. `step`: the first call makes a `Trace` (`trace`), which gives x and y a `TracedArray` (`arrays`) in place of their
   array. The primitive multiplies these as it multiplies arrays of NumPy.
2. ``np.multiply`` finds `TracedArray.__array_ufunc__`, and that `functions.ufunc`: NumPy computes the value, and the
   `Graph` (`graph`) gets a node, a ``map`` named "multiply" of the nodes of x and y. `layout` says where its elements
   are. `reference` evaluates such a graph by NumPy: that is what the machine code has to compute.
3. At the second call the `Plan` (`fusion`) puts the node into a loop with its neighbors, and z into the workspace,
   unless it stays in a register. The `Program` (`program`) makes a record of each loop: a `Part`, and where its arrays
   are.
4. `parts` writes the loop, by the methods of a `Function` (`code`), with the instruction from the table in
   `elementwise`; here two vectors of 16 elements, and one of 8::

       define i64 @part0(ptr %words) {           ; the addresses of z, x and y
         %v0 = load ptr, ptr %words
         …
         %v5 = load <16 x float>, ptr %v2, align 4
         %v6 = load <16 x float>, ptr %v4, align 4
         %v7 = fmul <16 x float> %v5, %v6
         store <16 x float> %v7, ptr %v0, align 4

   What is not one instruction is NumPy's own inner loop (`numpy_loops`), such as ``np.exp`` and ``np.matmul``.
5. `machine` compiles this text, or finds the code in the cache. `Bound` (`bound`) fills in the addresses, and each call
   runs the records in order (``run`` in `runtime`), with the kernels of optimizers between them (`effects`); `epoch`
   takes many steps in one call. `listing` is the program as text.
"""

from .arrays import UntraceableError
from .step import CompiledStep, HiddenInputError, compile

__all__ = ["CompiledStep", "HiddenInputError", "UntraceableError", "compile"]
