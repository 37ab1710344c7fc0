"""What a pruning run found, as data: the table, the report and the JSON read it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gamepruning.compaction.measure import Cost
from gamepruning.files.plain_json import to_json
from gamepruning.metrics import ClassFacts

FORMAT = 1
MAX_FAMILIES = 4  # that figures show


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to arrive at a network, judged on the test data at each stage it has."""

    key: str  # "dense", the method, "magnitude", "random" or "scratch"
    label: str  # the name people read
    kept: tuple[int, ...]  # players left in each family
    gated: float | None = None  # with the gates still multiplying
    removed: float | None = None  # players really taken out, nothing else done
    repaired: float | None = None  # readers fitted, nothing fine-tuned
    tuned: float | None = None  # after fine-tuning (or, for "scratch", training)
    validation: float | None = None  # of what `final` judges, on the validation data
    recalls: tuple[float | None, ...] = ()  # by class, of what is shipped, or at last
    accuracy: float | None = None  # of classes, likewise
    balanced_accuracy: float | None = None  # the mean recall

    @property
    def final(self) -> float | None:
        """The metric at the end of everything that was done to it."""
        stages = (self.tuned, self.repaired, self.removed, self.gated)
        return next((value for value in stages if value is not None), None)


@dataclasses.dataclass(frozen=True)
class FamilyRow:
    """How many players of one family stayed."""

    name: str
    kept: int
    total: int
    rescued: int = 0  # kept only because the family would be empty without them


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """Everything that the final table says, and how it came about."""

    command: str  # makes this run again
    dataset: str
    model: str
    method: str  # how players were chosen
    settings: Mapping[str, Any]  # complete, with every automatic choice filled in
    metric: str  # "accuracy", "R^2", ... as people read it
    num_train: int  # examples
    num_validation: int  # every choice is made on these
    num_test: int  # nothing was chosen on these
    families: tuple[FamilyRow, ...]
    dense: Contender  # unpruned, trained as long as the others
    pruned: Contender  # the outcome of the method
    rivals: tuple[Contender, ...]  # the same counts, with the same training
    cost_dense: Cost
    cost_small: Cost
    max_error: float  # small against gated full network, relative to the largest output
    shipped: str  # "removed", "repaired" or "tuned": the weights in the run folder
    seconds: Mapping[str, float]  # wall-clock time of each stage
    notes: tuple[str, ...]  # what a reader must know, one sentence each
    versions: Mapping[str, str]  # of the libraries used, and the device
    num_evaluations: int = 0  # coalitions, or pulls, from which who stays was chosen
    data_notes: tuple[str, ...] = ()  # what was done to the data, a line each
    classes: ClassFacts | None = None  # None for a regression
    repair: Mapping[str, Any] | None = None  # what was fitted in the pruned network

    @property
    def num_players(self) -> int:
        """Players there were."""
        return sum(family.total for family in self.families)

    @property
    def num_kept(self) -> int:
        """Players that stay."""
        return sum(family.kept for family in self.families)

    @property
    def removed_fraction(self) -> float:
        """Fraction of the players that left, in [0, 1]."""
        return 1.0 - self.num_kept / max(self.num_players, 1)

    @property
    def is_tuned(self) -> bool:
        """Return True if the networks were fine-tuned."""
        return self.pruned.tuned is not None

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """The method first, then its rivals."""
        return (self.pruned, *self.rivals)

    @property
    def shipped_value(self) -> float | None:
        """Test metric of the weights that the run folder holds."""
        return getattr(self.pruned, self.shipped)

    def to_json(self) -> str:
        """The result as JSON text, keys as in the attributes."""
        return to_json({"format": FORMAT, **dataclasses.asdict(self)}, indent=2)
