"""How XLA compiles in tests: they compile much and compute little."""

import importlib.metadata
import sys

_JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
# XLA's older way to fuse compiles in half the time; a flag that it no longer knows ends
# the process.
_OLDER_FUSION = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)


def quick_to_compile(level: int = 0) -> str:
    """Flags for XLA_FLAGS: little optimisation; none at all is three times as fast."""
    older = _OLDER_FUSION if _JAXLIB < (0, 11) else ""
    return f"--xla_backend_optimization_level={level} {older}".strip()


# Where jax keeps what it lowered: names of its own, which may change.
_LOWERED = (
    ("interpreters.pxla", "_cached_lowering_to_hlo"),
    ("pjit", "_pjit_lower"),
)
PROGRAMS = 64  # that share a context


def share_contexts() -> None:
    """Lower programs in a context of MLIR that others have used.

    Making one takes about 3 ms, of some 6 that a small program takes to lower.
    """
    from jax._src.interpreters import mlir
    from jax._src.lib.mlir import ir

    make = mlir.make_ir_context
    shared, used = None, 0

    def context() -> object:
        nonlocal shared, used
        if ir.Context.current is not None:  # a program amid the lowering of another
            return make()
        if used % PROGRAMS == 0:
            shared = make()
        used += 1
        return shared

    mlir.make_ir_context = context


def forget_lowered() -> None:
    """Let go of the text of every program; what was compiled from it stays.

    MLIR lowers the more slowly, the more contexts a process holds: the same sum took
    three times as long at 1,000 of them as at none.
    """
    for module, name in _LOWERED:
        cache = getattr(sys.modules.get(f"jax._src.{module}"), name, None)
        if cache is not None:
            cache.cache_clear()
