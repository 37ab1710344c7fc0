"""What somebody meant by a name that is not there, and complaints about words."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# What a flag is for, in the words of other commands and programs: the likeliest first.
MEANINGS = {
    "keep": ["keep", "sizes"],
    "size": ["keep", "sizes"],
    "keeps": ["sizes", "keep"],
    "sizes": ["sizes", "keep"],
    "sparsity": ["keep", "sizes"],
    "ratio": ["keep", "sizes"],
    "amount": ["keep", "sizes"],
    "data": ["dataset", "datasets"],
    "csv": ["dataset", "datasets"],
    "file": ["dataset", "datasets"],
    "input": ["dataset", "datasets"],
    "label": ["target"],
    "y": ["target"],
    "output": ["out"],
    "folder": ["out", "data-dir"],
    "weights": ["load"],
    "checkpoint": ["load"],
    "lr": ["learning-rate"],
    "network": ["model", "module"],
    "finetune": ["fine-tune"],
    "exclude": ["drop"],
    "ignore": ["drop"],
    "na": ["missing"],
    "test": ["test-file"],
    "runs": ["seeds", "seed"],
}
COUNTS = {"--seeds": "how many there are"}  # flags that look as if they took a list
NUMBERS = {"invalid literal": "whole number", "could not convert": "number"}
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_SIMPLER = {
    r"^Error parsing [\w.]+: ": "",  # the name of a group of settings
    r"^Error parsing (--[\w-]+): no type matching (.+) could be instantiated from "
    r"\[(.*)\]": r"expected \1 as \2, got \3",
    r"^Error parsing (--[\w-]+): Could not find valid parse for arguments: "
    r"\[(.*)\]": r"\1 cannot be \2",
    r"^(--[\w-]+ cannot be .*,.*)": r"\1: put spaces between values, not commas",
    r"^(expected --[\w-]+ as )INT": r"\1a whole number",
    r"^(expected --[\w-]+ as )FLOAT": r"\1a number",
    r"^Unrecognized options: (\S+?)(,.*)?$": r"no such option: \1",
    r"^Missing value for argument '(\S+)'.*": r"\1 needs a value",
    r"^Missing from [^:]+(?=:)": "missing",
    r" \(required\)": "",
    r"^invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*)\)": (
        r"expected \2 to be one of \3, got \1"
    ),
}
OTHERWISE = {("bands", "sizes")}  # means something else there: how many sizes


def no_attribute(module: str, name: str, known: Iterable[str]) -> str:
    """The error line of a name that a module does not have, with the likeliest one.

    Example:
      >>> no_attribute("gamepruning", "topn", ["top_n", "stats.nemenyi_test"])
      "module 'gamepruning' has no attribute 'topn'; did you mean 'top_n'?"
    """
    by_last = {full.split(".")[-1].lower(): full for full in reversed([*known])}
    close = difflib.get_close_matches(name.lower(), by_last, n=1)
    meant = f"; did you mean {by_last[close[0]]!r}?" if close else ""
    return f"module {module!r} has no attribute {name!r}{meant}"


def helpful(
    module: str, names: Sequence[str], load: Callable[[str], Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a namespace: its public names, help for others.

    Args:
      module: its name.
      names: its public names.
      load: gives a public name that is loaded when it is first used.
    """

    def getattr_(name: str) -> Any:
        if load is not None and name in names:
            return load(name)
        raise AttributeError(no_attribute(module, name, names))

    return getattr_, lambda: sorted(names)


def flag_of(name: str) -> str:
    """The command line's flag for a setting: --batch-size for batch_size."""
    return "--" + name.replace("_", "-")


def first_line(function: Callable[..., object]) -> str:
    """What a function, or an entry that wraps one as `score`, says of itself."""
    about = inspect.getdoc(getattr(function, "score", function)) or ""
    return about.split("\n")[0].rstrip(".")


def closest(name: str, known: Iterable[str]) -> str:
    """The end of an error line: the likeliest meaning of `name`, and what there is.

    Of more than a dozen names none is listed.

    Example:
      >>> closest("mnits", ["digits", "mnist"])
      ': did you mean mnist? There are digits, mnist'
    """
    known = list(known)
    guesses = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    told = [f"did you mean {guesses[0]}?"] if guesses else []
    there = f"{'There' if guesses else 'there'} {'are' if len(known) > 1 else 'is'}"
    told += [f"{there} {', '.join(known)}"] if len(known) <= 12 else []
    return f": {' '.join(told)}".rstrip(": ")


def likeliest(name: str, known: Iterable[str]) -> str:
    """The end of an error line where `name` is nearly one of these; else empty.

    Example:
      >>> likeliest("Taylr", ["taylor", "random"]), likeliest("mnist", ["taylor"])
      (': did you mean taylor?', '')
    """
    guesses = difflib.get_close_matches(name.lower(), [*known], n=1, cutoff=0.75)
    return f": did you mean {guesses[0]}?" if guesses else ""


def meant_flag(flag: str, command: str, flags: Mapping[str, Iterable[str]]) -> str:
    """The end of an error line about a flag that a command does not have.

    A flag of this command that means the same comes first. A flag that other commands
    have is no slip of the pen: they are named. Else it is empty.

    Args:
      flag: without its dashes.
      command: the command that was called.
      flags: the flags of each command, without dashes.

    Example:
      >>> flags = {"prune": ["keep", "seed"], "curve": ["sizes"], "methods": []}
      >>> meant_flag("keep", "curve", flags)
      ': did you mean --sizes?'
      >>> meant_flag("seed", "methods", flags)
      ' in methods: prune has it'
    """
    own = set(flags[command])
    alike = [*MEANINGS.get(flag, ()), f"{flag}s", flag.removesuffix("s")]
    for word in alike:
        if word in own and (command, word) not in OTHERWISE:
            return f": did you mean --{word}?"
    others = [name for name, known in flags.items() if flag in known]
    if not others:
        return ""
    return f" in {command}: {', '.join(others)} {'have' if others[1:] else 'has'} it"


def meaning(
    told: str, words: Sequence[str], command: str, flags: Mapping[str, Iterable[str]]
) -> str:
    """A complaint about words of a command line, with what they were meant to say.

    Args:
      told: "no such option: WORD", "missing: --FLAG what it is for", or anything else,
        which stays as it is.
      words: of the command line, after the command.
      command: the command that was called.
      flags: the flags of each command, without dashes.

    Example:
      >>> meaning("no such option: 1", ["--seeds", "0", "1"], "curve", {"curve": []})
      '--seeds takes one number, how many there are, such as 2; got 0 1'
    """
    for says, kind in NUMBERS.items():
        if found := re.match(rf"Error parsing (--[\w-]+): {says}.*?: ('.*')", told):
            count = f", {COUNTS[found[1]]}" if found[1] in COUNTS else ""
            return f"expected {found[1]} as one {kind}{count}; got {found[2]}"
    if told.startswith("missing: "):  # each with what it is for, a sentence
        needed = dict.fromkeys(re.findall(r"(?:^missing: |\. )(\S+)", told))
        return f"{command} needs {' and '.join(needed)}"
    unknown = re.match(r"no such option: (\S+?)(?=:|$| )", told)
    if unknown is None:
        return told
    if not unknown[1].startswith("-"):
        free = f"{command} does not take the word {unknown[1]!r}"
        return _several(unknown[1], words) or f"{free}: name its option before it"
    meant = meant_flag(unknown[1].removeprefix("--"), command, flags)
    return unknown[0] + meant if meant else told


def condense(box: str) -> str:
    """One line of the box in which tyro complains: a title, the complaint, a hint.

    The box is drawn in colour on a terminal, and by dashes where there is no UTF-8.

    Example:
      >>> condense("╭─ Value error ─╮\\n│ Error parsing --seed: │\\n│ not a number. │")
      'Error parsing --seed: not a number'
    """
    lines = [line.strip(" │┃|╰╯") for line in _COLOURS.sub("", box).splitlines()]
    body = " ".join([line for line in lines if line][1:])
    told, *more = [part for part in re.split(r"\s*[─-]{3,}\s*", body) if part] or [""]
    text = re.sub(r"\s*Got errors:.*", "", told).replace("{None}|", "")  # a default
    for pattern, told in _SIMPLER.items():
        text = re.sub(pattern, told, text)
    meant = re.search(r"Perhaps you meant: (-\S+)", " ".join(more))
    text += f": did you mean {meant[1]}?" if meant else ""
    return text.rstrip(". ") or "bad arguments"


def given_twice(words: Sequence[str]) -> str:
    """The complaint if a flag is there twice, with other values; else empty.

    Example:
      >>> given_twice(["--drop", "a", "--keep", "0.1", "--drop=b"])
      '--drop is given twice, as a and as b: give it once, with all that it is to hold'
    """
    seen: dict[str, list[str]] = {}
    for flag, *values in _groups(words):
        if seen.setdefault(flag, values) != values:
            one, other = " ".join(seen[flag]), " ".join(values)
            return (
                f"{flag} is given twice, as {one} and as {other}: give it once, with "
                "all that it is to hold"
            )
    return ""


def _groups(words: Sequence[str]) -> list[list[str]]:
    """Each flag of a command line with its values."""
    groups: list[list[str]] = []
    for one in words:
        if one.startswith("--"):
            groups.append(one.split("=", 1))
        elif groups:
            groups[-1].append(one)
    return groups


def _several(word: str, words: Sequence[str]) -> str:
    """The complaint if a word is a second value of a flag that takes one, or empty."""
    for flag, *values in _groups(words):
        if word in values[1:]:
            what = COUNTS.get(flag)
            kind = f"number, {what}, such as {len(values)}" if what else "value"
            return f"{flag} takes one {kind}; got {' '.join(values)}"
    return ""
