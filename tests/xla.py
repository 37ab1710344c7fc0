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

    Making one takes longer than most programs of the tests take in it.
    """
    from jax._src.interpreters import mlir
    from jax._src.lib.mlir import ir

    make = mlir.make_ir_context
    shared: list[object] = []

    def context() -> object:
        if ir.Context.current is not None:  # a program amid the lowering of another
            return make()
        if len(shared) == PROGRAMS:
            shared.clear()
        shared.append(shared[0] if shared else make())
        return shared[0]

    mlir.make_ir_context = context


def forget_lowered() -> None:
    """Let go of the text of every program; what was compiled from it stays.

    MLIR lowers the more slowly, the more contexts a process holds: 6 ms for a sum at
    100 of them, 33 ms at 1,000, and a worker of the whole suite came to thousands.
    """
    for module, name in _LOWERED:
        cache = getattr(sys.modules.get(f"jax._src.{module}"), name, None)
        if cache is not None:
            cache.cache_clear()
