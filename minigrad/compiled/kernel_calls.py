"""Kernel calls: machine code that calls an update kernel of Numba's (`minigrad.kernels.native`)."""

from __future__ import annotations

from llvmlite import ir

WORD = ir.IntType(64)
_ERROR_CODE = ir.IntType(32)
# The codes with which Numba's functions return without an error: with a result, and with ``None``.
_RETURNED, _RETURNED_NONE = 0, -2
FAILED = -1


def kernel_caller(module: ir.Module, words: int) -> ir.Function:
    """The function ``i64 update_<words>(i64 address, i64 *words)``, which is added to the module at its first use.

    It calls the native function at the address with that many words. Pointers are passed as integers, which are
    passed alike on all platforms that Numba knows. It returns the kernel's status: 0, the number (from 1) of the norm
    that stopped the step, or `FAILED` for an error inside the kernel, which has only one: no memory.
    """
    name = f"update_{words}"
    if name in module.globals:
        return module.globals[name]
    caller = ir.Function(module, ir.FunctionType(WORD, [WORD, WORD.as_pointer()]), name)
    caller.linkage = "internal"
    address, table = caller.args
    code = ir.IRBuilder(caller.append_basic_block())
    result, error = (code.alloca(WORD, name=name) for name in ("result", "error"))
    for slot in (result, error):
        code.store(WORD(0), slot)
    arguments = [code.load(code.gep(table, [WORD(i)])) for i in range(words)]
    signature = ir.FunctionType(_ERROR_CODE, [WORD.as_pointer(), WORD.as_pointer(), *[WORD] * words])
    returned = code.call(code.inttoptr(address, signature.as_pointer()), [result, error, *arguments])
    fine = [code.icmp_signed("==", returned, _ERROR_CODE(expected)) for expected in (_RETURNED, _RETURNED_NONE)]
    code.ret(code.select(code.or_(*fine), code.load(result), WORD(FAILED)))
    return caller
