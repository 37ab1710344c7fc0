"""The small model as files: safetensors, orbax, StableHLO; see `compaction.export`."""

from gamepruning.compaction.export import (
    export_model,
    export_orbax,
    export_safetensors,
    export_stablehlo,
    import_orbax,
    import_safetensors,
    load_stablehlo,
)
from gamepruning.spelling import helpful

__all__ = [
    "export_model",
    "export_orbax",
    "export_safetensors",
    "export_stablehlo",
    "import_orbax",
    "import_safetensors",
    "load_stablehlo",
]
__getattr__, __dir__ = helpful(__name__, __all__)
