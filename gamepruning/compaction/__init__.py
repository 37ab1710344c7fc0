"""Make it small: slice parameters, run the trace at the new sizes, verify, export."""

from gamepruning.compaction.compact import (
    CompactModel,
    CompactOptions,
    VerificationError,
    compact,
)
from gamepruning.compaction.export import (
    export_model,
    export_orbax,
    export_safetensors,
    export_stablehlo,
    import_orbax,
    import_safetensors,
    load_stablehlo,
)
from gamepruning.compaction.latency import LatencySize, latency_of
from gamepruning.compaction.measure import (
    count_bytes,
    count_macs,
    count_params,
    measure_latency,
)
from gamepruning.compaction.plan import Plan, make_plan
from gamepruning.compaction.report import CompactionReport
from gamepruning.compaction.slicing import slice_opt_state, slice_tree, unslice_tree
from gamepruning.compaction.to_module import SmallModule, to_module
from gamepruning.spelling import helpful

__all__ = [
    "CompactModel",
    "CompactOptions",
    "CompactionReport",
    "LatencySize",
    "Plan",
    "SmallModule",
    "VerificationError",
    "compact",
    "count_bytes",
    "count_macs",
    "count_params",
    "export_model",
    "export_orbax",
    "export_safetensors",
    "export_stablehlo",
    "import_orbax",
    "import_safetensors",
    "latency_of",
    "load_stablehlo",
    "make_plan",
    "measure_latency",
    "slice_opt_state",
    "slice_tree",
    "to_module",
    "unslice_tree",
]
__getattr__, __dir__ = helpful(__name__, __all__)
