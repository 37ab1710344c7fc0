"""What somebody meant by a name that is not there."""

import difflib
from collections.abc import Iterable, Mapping

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
OTHERWISE = {("bands", "sizes")}  # means something else there: how many sizes


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
