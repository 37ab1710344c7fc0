"""The settings of `gamepruning prune`, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from gamepruning.errors import InputError
from gamepruning.workbench.methods.registry import METHODS, Kind, find_method, names_of
from gamepruning.workbench.settings.base import (
    CommandSettings,
    Settings,
    Within,
    flag_of,
)
from gamepruning.workbench.settings.parts import (
    DatasetName,
    DataSettings,
    GameSettings,
    Keep,
    KeepText,
    Load,
    N,
    NetworkSettings,
    Preset,
    RateSettings,
    Scope,
    ScoringSettings,
    Seed,
    Share,
    TrainingSettings,
    Unit,
    X,
    parse_keep,
)

KINDS: dict[Kind, str] = {
    "equilibrium": "the equilibrium game",
    "index": "power indices",
    "bandit": "bandits",
    "baseline": "baselines",
}
Selection = Literal["auto", "top_n", "pruning", "building"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceSettings(Settings):
    """What players pay in the equilibrium game.

    Attributes:
      preset: Prices of the game (arXiv 2512.22106, Table 2).
      price: Factor on the prices of --preset; a smaller one keeps more players.
    """

    preset: Preset = "l1_l2"
    price: Annotated[float, X, Within(0, is_open=True)] = 1.0


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

    keep: KeepText = None
    unit: Unit = "players"
    scope: Scope = "family"
    round_to: Annotated[int, N, Within(1, 10**6)] = 1
    max_drop: Annotated[float | None, X, Within()] = None

    def __post_init__(self):
        super().__post_init__()
        if self.keep is not None:
            parse_keep(self.keep)
        if "/" in (self.keep or "") and self.unit != "players":
            raise InputError(
                f"--keep {self.keep} counts players: leave --unit {self.unit} out"
            )
        if self.max_drop is not None and (self.keep is not None or self.round_to != 1):
            raise InputError(MAX_DROP)

    @property
    def is_open(self) -> bool:
        """Return True if nothing says how many players stay."""
        return self.keep is None and self.max_drop is None

    @property
    def target(self) -> Keep:
        """What --keep says, read.

        Raises:
          InputError: it was not given.
        """
        if self.keep is None:
            raise InputError("--keep is needed: it says how many players stay")
        return parse_keep(self.keep)


MAX_DROP = (
    "--max-drop says when to stop: leave --keep, --selection top_n and --round-to out"
)


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

    dataset: DatasetName = "digits"
    network: NetworkSettings = NetworkSettings()
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
    game: GameSettings = GameSettings()
    size: SizeSettings = SizeSettings()
    bias: Annotated[float | None, X, Share] = None
    scoring: ScoringSettings = ScoringSettings()
    data: DataSettings = DataSettings()
    training: TrainingSettings = TrainingSettings()
    rates: RateSettings = RateSettings()
    seed: Seed = 0
    load: Load = None
    rivals: bool = True

    def __post_init__(self):
        super().__post_init__()
        method = find_method(self.method)
        for name, _ in self.given():
            _check_goes_with(name, self.method, method.asks)
        if self.has_budget:
            self._check_budget()
        elif self.size.unit != "players":
            raise InputError(
                f"--unit {self.size.unit} goes with --method equilibrium and --keep"
            )
        if method.kind == "bandit":
            self._check_bandit()
        if self.selection in ("pruning", "building"):
            self._check_rounds()
        if self.size.is_open and method.kind != "equilibrium":
            raise InputError(
                f"--method {self.method} needs --keep: a fraction such as 0.1, a count "
                "such as 77, or a count for each family such as 51/26"
            )

    @property
    def has_budget(self) -> bool:
        """Return True if the equilibrium game is to end at a given size."""
        return self.method == "equilibrium" and self.size.keep is not None

    def _check_budget(self) -> None:
        for name, _ in self.given():
            if name in ("preset", "price", "norm", "benefit", "round_to"):
                raise InputError(
                    f"{flag_of(name)} does nothing where --keep says how many stay: "
                    "leave one of them out"
                )

    def _check_bandit(self) -> None:
        if self.selection == "building":
            raise InputError(
                "--selection building does not go with bandits, which remove players: "
                "take pruning or top_n"
            )
        if self.size.max_drop is not None and self.selection == "top_n":
            raise InputError(MAX_DROP)

    def _check_rounds(self) -> None:
        if "/" in (self.size.keep or ""):
            raise InputError(
                f"--selection {self.selection} compares all players with each other: "
                f"give --keep one number instead of {self.size.keep}, or take top_n"
            )
        if self.size.round_to != 1:
            raise InputError(
                f"--round-to {self.size.round_to} goes with --selection top_n, not "
                f"{self.selection}"
            )


def _check_goes_with(name: str, method: str, asks: tuple[str, ...]) -> None:
    """Raise `InputError` if a setting is one of other methods only."""
    takers = [other for other in METHODS.values() if name in other.asks]
    if not takers or name in asks:
        return
    if takers[0].kind == "index" and len({m.scorer for m in takers}) == 1:
        told = f"--method {takers[0].name}"
    else:
        kinds: list[Kind] = list(dict.fromkeys(taker.kind for taker in takers))
        told = " and ".join(
            f"{KINDS[kind]} (--method {names_of(kind)[0]})" for kind in kinds
        )
    raise InputError(f"{flag_of(name)} goes with {told}, not with --method {method}")
