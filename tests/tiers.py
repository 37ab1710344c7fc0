"""The fast tier: all tests but those that `slow.txt` names.

`python -m pytest -n auto -m fast` runs it. To choose anew who is slow:

    python -m pytest -n auto --durations=0 --durations-min=0.01 > all.log
    python -m pytest -n auto --durations=0 --durations-min=0.01 -m fast > fast.log
    python -m tests.tiers all.log fast.log

What is compiled for several tests is paid by the first of them, which is another one in
the fast tier: so of several logs the longest time of a test counts.
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
    """The test function of an item, or its class.

    >>> function_of("tests/test_face.py::test_every_name_is_there[mcue]")
    'tests/test_face.py::test_every_name_is_there'
    """
    return "::".join(nodeid.split("[")[0].split("::")[:2])


def choose_slow(*logs: str) -> list[str]:
    """The test functions that do not fit into the budget, the costliest of all."""
    seconds: Counter[str] = Counter()
    for log in logs:
        own: Counter[str] = Counter()
        for line in log.splitlines():
            if match := _LINE.match(line):
                own[match[2]] += float(match[1])
        seconds |= own  # the larger one of each
    spent, slow = 0.0, []
    for name, own in sorted(seconds.items(), key=lambda pair: pair[1]):
        spent += own
        if spent > BUDGET:
            slow.append(name)
    return sorted(slow)


if __name__ == "__main__":
    found = choose_slow(*(Path(p).read_text(encoding="utf-8") for p in sys.argv[1:]))
    head = (
        "# Written by `python -m tests.tiers`: tests that the fast tier leaves out.\n"
    )
    FILE.write_text(head + "".join(f"{name}\n" for name in found), encoding="utf-8")
    print(f"{len(found)} test functions are slow")
