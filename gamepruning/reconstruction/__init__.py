"""A pruned network made good in closed form, before it is trained."""

from gamepruning.reconstruction.gram import Grams, gather_grams
from gamepruning.reconstruction.in_order import Eliminated, eliminate_in_order
from gamepruning.reconstruction.market import Traded, trade, trade_curves
from gamepruning.reconstruction.readers import Alone
from gamepruning.reconstruction.repair import RepairConfig, repair
from gamepruning.reconstruction.report import ReaderReport, Repaired, RepairReport
from gamepruning.reconstruction.scores import (
    Curves,
    FamilyCurve,
    ReconstructionConfig,
    family_curves,
    reconstruction_curves,
    reconstruction_scores,
)
from gamepruning.reconstruction.taps import OutputsAndTaps, Taps, tap_readers
from gamepruning.spelling import helpful

__all__ = [
    "Alone",
    "Curves",
    "Eliminated",
    "FamilyCurve",
    "Grams",
    "ReaderReport",
    "ReconstructionConfig",
    "RepairConfig",
    "RepairReport",
    "Repaired",
    "OutputsAndTaps",
    "Taps",
    "Traded",
    "eliminate_in_order",
    "family_curves",
    "gather_grams",
    "reconstruction_curves",
    "reconstruction_scores",
    "repair",
    "tap_readers",
    "trade",
    "trade_curves",
]
__getattr__, __dir__ = helpful(__name__, __all__)
