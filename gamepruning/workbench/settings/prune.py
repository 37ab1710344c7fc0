"""The settings of `gamepruning prune`, checked before anything is done."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from gamepruning.errors import InputError
from gamepruning.spelling import flag_of
from gamepruning.workbench import registry
from gamepruning.workbench.settings import parts
from gamepruning.workbench.settings.base import Settings, Within

MAX_DROP = (
    "--max-drop says when to stop: leave --keep, --speed-up, --selection top_n and "
    "--round-to out"
)
UNUSED_BY_BUDGETS = ("preset", "price", "norm", "benefit", "round_to")
Keep = float | int | tuple[int, ...]
Unit = Literal["players", "params", "macs", "bytes", "latency"]
Preset = Literal["very_high_beta", "extreme_beta", "l1_strong", "l1_l2"]


def parse_keep(keep: str) -> Keep:
    """What --keep means: a fraction, a count, or a count for each family.

    Example:
      >>> parse_keep("0.1"), parse_keep("77"), parse_keep("51/26")
      (0.1, 77, (51, 26))
    """
    try:
        if "/" in keep:
            counts = tuple(int(part) for part in keep.split("/"))
            if min(counts) >= 1:
                return counts
        elif "." in keep or "e" in keep:
            if 0 < float(keep) < 1:
                return float(keep)
        elif int(keep) >= 1:
            return int(keep)
    except ValueError:
        pass
    raise InputError(
        f"expected --keep as a fraction in (0, 1) such as 0.1, a count such as 77, or "
        f"a count for each family such as 51/26, got {keep!r}"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PriceSettings(Settings):
    """What players pay in the equilibrium game.

    Attributes:
      preset: Prices of the game (arXiv 2512.22106, Table 2).
      price: Factor on the prices of --preset; a smaller one keeps more players.
    """

    preset: Preset = "l1_l2"
    price: Annotated[float, parts.X, parts.Above] = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GameSettings(Settings):
    """The equilibrium game.

    Attributes:
      norm: Size of a player in the quadratic cost: the mean of its squared weights,
        their sum (as the paper prints it), or 1.
      benefit: What the game rewards: a lower loss (descent), or what the paper's sign
        says literally.
      threshold: Players whose gate ends below this number leave, in (0, 1).
    """

    norm: Literal["mean", "sum", "unit"] = "mean"
    benefit: Literal["descent", "literal"] = "descent"
    threshold: Annotated[float, parts.X, parts.Share] = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeSettings(Settings):
    """How many players stay.

    Attributes:
      keep: Size to prune to: a fraction of the players (0.1), a count (77), or a count
        for each family (51/26). The equilibrium game raises its prices until it meets
        this size, instead of taking --preset; all others need --keep or --speed-up.
      unit: What --keep counts: players, parameters, multiply-adds of one example,
        bytes, or whole milliseconds (latency) that a batch of 1,000 (or of all training
        examples) takes on this machine. As many players stay as that size allows.
      speed_up: Instead of --keep: as many players stay as leave this many times fewer
        multiply-adds, such as 2.1.
      scope: Keep the best of all players, or the same share of every family; for
        baselines and --selection top_n. Auto is what the method's name says.
      round_to: Keep a multiple of this number of players in every family.
      max_drop: Instead of --keep: let a bandit remove players until the validation
        metric would be lower by more than this, such as 0.01.
    """

    keep: Annotated[str | None, parts.flag("SIZE")] = None
    unit: Unit = "players"
    speed_up: Annotated[float | None, parts.X, Within(1, is_open=True)] = None
    scope: Literal["auto", "family", "global"] = "auto"
    round_to: Annotated[int, parts.N, Within(1, 10**6)] = 1
    max_drop: Annotated[float | None, parts.X, Within()] = None

    def problems(self) -> Iterator[str]:
        if self.keep is not None:
            parse_keep(self.keep)
        for name, value in self.given().items() if self.counts_families else ():
            if name != "keep":
                flag = f"{flag_of(name)} {value}"
                yield f"--keep {self.keep} counts players: leave {flag} out"
        if self.max_drop is not None and (self.is_given or self.round_to != 1):
            yield MAX_DROP
        if self.speed_up is not None and self.keep is not None:
            yield "--speed-up and --keep both say how much stays: leave one out"
        if self.unit != "players" and self.keep is None:
            yield f"--unit {self.unit} says what --keep counts: give --keep"

    @property
    def is_given(self) -> bool:
        """Return True if --keep or --speed-up says how much stays."""
        return self.keep is not None or self.speed_up is not None

    @property
    def counted(self) -> Unit:
        """What the size is counted in."""
        return self.unit if self.speed_up is None else "macs"

    @property
    def told(self) -> str:
        """The size as it was given."""
        told = f"--keep {self.keep} --unit {self.unit}"
        return told if self.speed_up is None else f"--speed-up {self.speed_up:g}"

    @property
    def counts_families(self) -> bool:
        """Return True if --keep is a count for each family."""
        return "/" in (self.keep or "")

    @property
    def target(self) -> Keep:
        """The size, read; an `InputError` where it was not given."""
        if self.speed_up is not None:
            return 1 / self.speed_up
        if self.keep is None:
            raise InputError("--keep is needed: it says how many players stay")
        return parse_keep(self.keep)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneSettings(parts.DatasetCommandSettings):
    """Train a network, prune it, check the small one, and write a report.

    Examples:
      gamepruning prune
      gamepruning prune --dataset mnist --data-dir DATA --preset l1_strong
      gamepruning prune --keep 0.1 --unit params
      gamepruning prune taylor --speed-up 2.1
      gamepruning prune taylor --keep 0.5 --unit latency
      gamepruning prune taylor --keep 0.1 --fine-tune 20 --distil
      gamepruning prune elimination --keep 25/12 --refine 15 --fine-tune 0
      gamepruning prune --dataset cifar10 --model resnet20 --augment
      gamepruning prune shapley --keep 0.3
      gamepruning prune ucb1 --max-drop 0.01
      gamepruning prune --module net.py:make --dataset table.csv --out runs/mine
      gamepruning prune --resume --out runs/mine

    Attributes:
      method: Method that chooses the players that stay: equilibrium, a power index
        such as shapley, a bandit such as ucb1, or a baseline such as taylor;
        gamepruning methods lists all. As the first word it needs no flag.
      selection: How power indices and bandits decide: the best of one estimate stay
        (top_n), the worst leave round by round (pruning), or, by power indices, the
        best enter round by round (building). Auto is what the method's name says:
        shapley and banzhaf estimate once, building-banzhaf builds, bandits prune.
      seed: Seed of everything random.
      load: Weights to start from: a run folder or a .safetensors file, for resnet20 to
        vgg19 with PyTorch's names, too. All methods but the equilibrium game prune them
        as they are.
      rivals: Also prune at random and by magnitude to the same size, and train a
        network of that size from scratch.
    """

    COMMAND: ClassVar[str] = "prune"
    method: Annotated[str, parts.flag("NAME")] = registry.EQUILIBRIUM
    selection: Literal["auto", "top_n", "pruning", "building"] = "auto"
    prices: PriceSettings = PriceSettings()
    game: GameSettings = GameSettings()
    size: SizeSettings = SizeSettings()
    scoring: parts.ScoringSettings = parts.ScoringSettings()
    rates: parts.RateSettings = parts.RateSettings()
    seed: parts.Seed = 0
    load: parts.Load = None
    rivals: bool = True

    @property
    def has_budget(self) -> bool:
        """Return True if the equilibrium game is to end at a given size."""
        return self.method == registry.EQUILIBRIUM and self.size.is_given

    @property
    def settled_rates(self) -> parts.RateSettings:
        """The rates, with --repair decided: the game trains while it prunes."""
        repair, kind = self.rates.repair, registry.find_method(self.method).kind
        is_cut_at_once = kind != "equilibrium"
        return self.rates.but(repair=is_cut_at_once if repair is None else repair)

    @property
    def selected(self) -> registry.Method:
        """The method, with the selection that --selection and --scope give it."""
        method, scope = registry.find_method(self.method), self.size.scope
        selection = method.selection
        if "selection" in method.asks and self.selection != "auto":
            selection = self.selection
        if selection in ("top_n", "family") and scope != "auto":
            selection = "family" if scope == "family" else "top_n"
        return dataclasses.replace(method, selection=selection)

    def problems(self) -> Iterator[str]:
        method, size = self.selected, self.size
        yield from misfits(self, "--method", [method])
        for name in UNUSED_BY_BUDGETS if self.has_budget else ():
            if name in self.given():
                yield (
                    f"{flag_of(name)} does nothing where --keep says how many stay: "
                    "leave one of them out"
                )
        if method.kind == "bandit" and self.selection == "building":
            yield (
                "--selection building does not go with bandits, which remove players: "
                "take pruning or top_n"
            )
        if self.rates.refine and not self.settled_rates.repair:
            mend = "give --repair" if self.rates.repair is None else "drop --no-repair"
            yield f"--refine is a part of the repair: {mend}"
        if size.max_drop is not None and not method.is_iterated:
            yield MAX_DROP
        if method.is_iterated:
            for name, value in size.given().items():
                if name in ("scope", "round_to") or "/" in str(value):
                    yield (
                        f"{flag_of(name)} {value} goes with --selection top_n: "
                        f"{method.selection} compares all players with each other"
                    )
        is_open = not size.is_given and size.max_drop is None
        if is_open and method.kind != "equilibrium":
            yield (
                f"--method {self.method} needs --keep: a fraction such as 0.1, a count "
                "such as 77, or a count for each family such as 51/26; or --speed-up"
            )


def misfits(
    settings: Settings, flag: str, methods: Sequence[registry.Method]
) -> Iterator[str]:
    """Say so if a setting that was given goes with none of the methods of `flag`."""
    for name in settings.given():
        takers = [m for m in registry.METHODS.values() if name in m.asks]
        if takers and not any(name in method.asks for method in methods):
            first = {method.kind: method for method in reversed(takers)}
            rounds = " in rounds" if name in registry.ROUNDS else ""
            told = " and ".join(
                f"{registry.KINDS[m.kind][0]}{rounds} ({flag} {m.name})"
                for m in reversed(first.values())
            )
            own = " ".join(method.name for method in methods)
            yield f"{flag_of(name)} goes with {told}, not with {flag} {own}"
