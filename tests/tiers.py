"""The fast tier: all tests but those that `slow.txt` names.

`python -m pytest -n auto -m fast` runs it. To choose anew who is slow:

    python -m pytest -n auto --durations=0 --durations-min=0.01 > durations.log
    python -m tests.tiers durations.log
"""

import re
import sys
from collections import Counter
from pathlib import Path

BUDGET = 30.0  # seconds of one core that the measured tests of the fast tier take
HERE = Path(__file__).parent
FILE = HERE / "slow.txt"
_LINE = re.compile(r"^([\d.]+)s (?:call|setup|teardown)\s+(tests/\S+?::\w+)")


def read_slow() -> frozenset[str]:
    """The names of the slow test functions, parameters left out."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def function_of(nodeid: str) -> str:
    """The test function of an item.

    >>> function_of("tests/test_face.py::test_every_name_is_there[mcue]")
    'tests/test_face.py::test_every_name_is_there'
    """
    return nodeid.split("[")[0]


def choose_slow(log: str) -> list[str]:
    """The test functions that do not fit into the budget, the costliest of all."""
    seconds: Counter[str] = Counter()
    for line in log.splitlines():
        if match := _LINE.match(line):
            seconds[match[2]] += float(match[1])
    spent, slow = 0.0, []
    for name, own in sorted(seconds.items(), key=lambda pair: pair[1]):
        spent += own
        if spent > BUDGET:
            slow.append(name)
    return sorted(slow)


if __name__ == "__main__":
    found = choose_slow(Path(sys.argv[1]).read_text(encoding="utf-8"))
    head = (
        "# Written by `python -m tests.tiers`: tests that the fast tier leaves out.\n"
    )
    FILE.write_text(head + "".join(f"{name}\n" for name in found), encoding="utf-8")
    print(f"{len(found)} test functions are slow")
