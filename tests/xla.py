"""How XLA compiles in tests: they compile much and compute little."""

import importlib.metadata

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
