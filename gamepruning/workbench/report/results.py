"""What a pruning run found, as data: the table, the report and the JSON read it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

FORMAT = 1
MAX_FAMILIES = 4  # that figures show


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to arrive at a network, judged on the test data.

    Attributes:
      key: short name: "dense", the method, "magnitude", "random" or "scratch".
      label: the name people read.
      kept: players left in each family.
      gated: test metric with the gates still multiplying; None where there are none.
      removed: test metric after players are really taken out, before any fine-tuning;
        None for networks that nothing was taken out of.
      tuned: test metric after fine-tuning (or, for "scratch", after training); None
        where there was none.
      validation: metric on the validation data of what `final` judges.
    """

    key: str
    label: str
    kept: tuple[int, ...]
    gated: float | None = None
    removed: float | None = None
    tuned: float | None = None
    validation: float | None = None

    @property
    def final(self) -> float | None:
        """The metric at the end of everything that was done to it."""
        stages = (self.tuned, self.removed, self.gated)
        return next((value for value in stages if value is not None), None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FamilyRow:
    """How many players of one family stayed.

    Attributes:
      name: the family.
      kept: players that stay.
      total: players there were.
      rescued: players kept only because the family would be empty without them.
    """

    name: str
    kept: int
    total: int
    rescued: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs to hold and to run.

    Attributes:
      params: number of parameters.
      num_bytes: their size.
      macs: multiply-accumulates for one example.
      latency_ms: median milliseconds for `latency_batch` examples, warm and blocked.
      latency_p10_ms: their tenth percentile.
      latency_p90_ms: their ninetieth percentile.
      latency_batch: examples a call.
    """

    params: int
    num_bytes: int
    macs: int
    latency_ms: float
    latency_p10_ms: float
    latency_p90_ms: float
    latency_batch: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """Everything that the final table says, and how it came about.

    Attributes:
      command: the command line that makes this run again.
      dataset: name of the data set.
      model: name of the network.
      method: how players were chosen.
      settings: the complete settings, with every automatic choice filled in.
      metric: "accuracy" or "R^2".
      num_train: training examples.
      num_validation: validation examples; every choice is made on these.
      num_test: test examples; nothing was chosen on these.
      families: players kept in each family.
      dense: the unpruned network, trained as long as the others.
      pruned: the outcome of the method.
      rivals: others at exactly the same counts, with the same training.
      cost_dense: cost of the unpruned network.
      cost_small: cost of the small network.
      max_error: largest difference between the small network and the gated full one,
        relative to the largest output.
      shipped: "removed" or "tuned": which weights the run folder holds.
      seconds: wall-clock time of each stage.
      notes: what a reader must know, one sentence each.
      versions: of the libraries used, and the device.
    """

    command: str
    dataset: str
    model: str
    method: str
    settings: Mapping[str, Any]
    metric: str
    num_train: int
    num_validation: int
    num_test: int
    families: tuple[FamilyRow, ...]
    dense: Contender
    pruned: Contender
    rivals: tuple[Contender, ...]
    cost_dense: Cost
    cost_small: Cost
    max_error: float
    shipped: str
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    versions: Mapping[str, str]

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
        """Whether the networks were fine-tuned."""
        return self.pruned.tuned is not None

    @property
    def last_stage(self) -> str:
        """What `tuned` means for these; untuned, only "scratch" has it: trained."""
        return "fine-tuned" if self.is_tuned else "trained"

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """The method first, then its rivals."""
        return (self.pruned, *self.rivals)

    @property
    def shipped_value(self) -> float | None:
        """Test metric of the weights that the run folder holds."""
        return self.pruned.tuned if self.shipped == "tuned" else self.pruned.removed

    def to_json(self) -> str:
        """The result as JSON text, keys as in the attributes."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2)
