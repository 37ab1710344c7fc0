"""A pruned network made good in closed form, before it is trained."""

from gamepruning.reconstruction.readers import Alone
from gamepruning.reconstruction.repair import RepairConfig, Repaired, repair
from gamepruning.reconstruction.report import ReaderReport, RepairReport

__all__ = [
    "Alone",
    "ReaderReport",
    "RepairConfig",
    "RepairReport",
    "Repaired",
    "repair",
]
