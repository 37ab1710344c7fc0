"""The settings of `gamepruning prune`, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from gamepruning.errors import InputError
from gamepruning.workbench.methods.registry import (
    METHODS,
    Kind,
    Method,
    find_method,
    names_of,
)
from gamepruning.workbench.settings import parts
from gamepruning.workbench.settings.base import (
    CommandSettings,
    Settings,
    Within,
    flag_of,
)

KINDS: dict[Kind, str] = {
    "equilibrium": "the equilibrium game",
    "index": "power indices",
    "bandit": "bandits",
    "baseline": "baselines",
}
MAX_DROP = (
    "--max-drop says when to stop: leave --keep, --selection top_n and --round-to out"
)
UNUSED_BY_BUDGETS = ("preset", "price", "norm", "benefit", "round_to")
Selection = Literal["auto", "top_n", "pruning", "building"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceSettings(Settings):
    """What players pay in the equilibrium game.

    Attributes:
      preset: Prices of the game (arXiv 2512.22106, Table 2).
      price: Factor on the prices of --preset; a smaller one keeps more players.
    """

    preset: parts.Preset = "l1_l2"
    price: Annotated[float, parts.X, Within(0, is_open=True)] = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeSettings(Settings):
    """How many players stay.

    Attributes:
      keep: Size to prune to: a fraction of the players (0.1), a count (77), or a count
        for each family (51/26). The equilibrium game raises its prices until it meets
        this size, instead of taking --preset; all other methods need --keep.
      unit: What --keep counts in the equilibrium game: players, their parameters, or
        their multiply-adds.
      scope: Whether the same share of every family stays, or the best of all players;
        for baselines and --selection top_n.
      round_to: Keep a multiple of this number of players in every family.
      max_drop: Instead of --keep: let a bandit remove players until the validation
        metric would be lower by more than this, such as 0.01.
    """

    keep: parts.KeepText = None
    unit: Literal["players", "params", "macs"] = "players"
    scope: Literal["family", "global"] = "family"
    round_to: Annotated[int, parts.N, Within(1, 10**6)] = 1
    max_drop: Annotated[float | None, parts.X, Within()] = None

    def __post_init__(self):
        super().__post_init__()
        if self.keep is not None:
            parts.parse_keep(self.keep)
        if "/" in (self.keep or "") and self.unit != "players":
            raise InputError(
                f"--keep {self.keep} counts players: leave --unit {self.unit} out"
            )
        if self.max_drop is not None and (self.keep is not None or self.round_to != 1):
            raise InputError(MAX_DROP)

    @property
    def target(self) -> parts.Keep:
        """What --keep says, read; an `InputError` where it was not given."""
        if self.keep is None:
            raise InputError("--keep is needed: it says how many players stay")
        return parts.parse_keep(self.keep)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneSettings(CommandSettings):
    """What `gamepruning prune` was asked to do; None where it chooses itself.

    What depends on the data is chosen and checked later; see `settle`.

    Attributes:
      selection: How power indices and bandits decide: the best of one estimate stay
        (top_n), the worst leave round by round (pruning), or, by power indices, the
        best enter round by round (building). Auto builds by power indices and prunes
        by bandits, unless --keep counts each family.
      bias: Probability with which a player is in a coalition, for --method
        biased_banzhaf (default: where the outputs are least certain).
      load: Weights to start from: a .safetensors file or a run folder. All methods but
        the equilibrium game prune them as they are.
      rivals: Also prune at random and by magnitude to the same size, and train a
        network of that size from scratch.

    Raises:
      InputError: a setting is out of range, or does not go with the method.
    """

    COMMAND: ClassVar[str] = "prune"

    dataset: parts.DatasetName = "digits"
    network: parts.NetworkSettings = parts.NetworkSettings()
    method: Annotated[
        str,
        arg(
            metavar="NAME",
            help="Method that chooses the players that leave: equilibrium, a power "
            "index such as shapley, a bandit such as ucb1, or a baseline such as "
            "taylor; gamepruning methods lists all.",
        ),
    ] = "equilibrium"
    selection: Selection = "auto"
    prices: PriceSettings = PriceSettings()
    game: parts.GameSettings = parts.GameSettings()
    size: SizeSettings = SizeSettings()
    bias: Annotated[float | None, parts.X, parts.Share] = None
    scoring: parts.ScoringSettings = parts.ScoringSettings()
    data: parts.DataSettings = parts.DataSettings()
    training: parts.TrainingSettings = parts.TrainingSettings()
    rates: parts.RateSettings = parts.RateSettings()
    seed: parts.Seed = 0
    load: parts.Load = None
    rivals: bool = True

    def __post_init__(self):
        super().__post_init__()
        method, size = find_method(self.method), self.size
        self._check_fits(method)
        if size.unit != "players" and not self.has_budget:
            raise InputError(
                f"--unit {size.unit} goes with --method equilibrium and --keep"
            )
        if method.kind == "bandit" and self.selection == "building":
            raise InputError(
                "--selection building does not go with bandits, which remove players: "
                "take pruning or top_n"
            )
        if size.max_drop is not None and self.selection == "top_n":
            raise InputError(MAX_DROP)
        if self.selection in ("pruning", "building") and "/" in (size.keep or ""):
            raise InputError(
                f"--selection {self.selection} compares all players with each other: "
                f"give --keep one number instead of {size.keep}, or take top_n"
            )
        if self.selection in ("pruning", "building") and size.round_to != 1:
            raise InputError(
                f"--round-to {size.round_to} goes with --selection top_n, not "
                f"{self.selection}"
            )
        if size.keep is size.max_drop is None and method.kind != "equilibrium":
            raise InputError(
                f"--method {self.method} needs --keep: a fraction such as 0.1, a count "
                "such as 77, or a count for each family such as 51/26"
            )

    @property
    def has_budget(self) -> bool:
        """Return True if the equilibrium game is to end at a given size."""
        return self.method == "equilibrium" and self.size.keep is not None

    def _check_fits(self, method: Method) -> None:
        """Raise `InputError` if a setting goes with other methods only."""
        for name, _ in self.given():
            takers = [other for other in METHODS.values() if name in other.asks]
            if takers and name not in method.asks:
                kinds: list[Kind] = list(dict.fromkeys(other.kind for other in takers))
                all_of = " and ".join(
                    f"{KINDS[kind]} (--method {names_of(kind)[0]})" for kind in kinds
                )
                told = "--method biased_banzhaf" if name == "bias" else all_of
                raise InputError(
                    f"{flag_of(name)} goes with {told}, not with --method {self.method}"
                )
            if self.has_budget and name in UNUSED_BY_BUDGETS:
                raise InputError(
                    f"{flag_of(name)} does nothing where --keep says how many stay: "
                    "leave one of them out"
                )
