"""How kernels are compiled, and how they read and write arrays: what takes numba little to compile.

A kernel is compiled on the machine where it first runs, while a user waits. Of that time most goes to numba's own work in
Python, so it is given less of it: no passes that these kernels have no use for, and pointers instead of arrays.
An array is a structure of seven fields with a count of references, which numba takes apart wherever an element is read;
a pointer is one number. It has no length and no negative indices, so a kernel is told sizes beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import compiler, compiler_machinery, errors, typed_passes, untyped_passes
from numba.extending import intrinsic

__all__ = ["kernel", "kernel_helper", "pointer_at", "pointer_to"]

Function = TypeVar("Function", bound=Callable[..., Any])

_numba: Any = numba  # its types lack much of what is used here
_machinery: Any = compiler_machinery


class _KernelCompiler(compiler.CompilerBase):
    """Numba's pipeline without closures, inlining by name, loops unrolled by type, and rewriting."""

    def define_pipelines(self) -> list[Any]:
        manager = _machinery.PassManager("kernel")
        passes: Any = (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.AnnotateTypes,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        )
        for each in passes:
            manager.add_pass(each, each.name())
        manager.finalize()
        return [manager]


def kernel(**options: Any) -> Callable[[Function], Function]:
    """Compile a function that Python calls; it is kept in numba's cache."""
    decorator: Callable[[Function], Function] = _numba.njit(
        cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True, pipeline_class=_KernelCompiler, **options
    )
    return decorator


def kernel_helper(**options: Any) -> Callable[[Function], Function]:
    """Compile a function for kernels of the same file: without the code for calls from Python, and outside of the cache.

    A kernel holds its helpers compiled in, so that nothing is lost; compiling takes less.
    """
    decorator: Callable[[Function], Function] = _numba.njit(
        nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_KernelCompiler,
        **options,
    )  # fmt: skip
    return decorator


@intrinsic
def _intrinsic_pointer_to(typing_context: Any, array: Any) -> Any:
    """Pointer to the first element of an array, which is contiguous."""
    if array.layout != "C":
        raise errors.TypingError("kernels read contiguous arrays")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.data_model_manager[signature.args[0]].get(builder, args[0], "data")

    return _numba.types.CPointer(array.dtype)(array), code


@intrinsic
def _intrinsic_pointer_at(typing_context: Any, pointer: Any, position: Any) -> Any:
    """Pointer to an element further on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, _numba.intp), code


# Called by their values alone: the first argument is numba's own.
pointer_to: Any = _intrinsic_pointer_to
pointer_at: Any = _intrinsic_pointer_at
