"""Write the tables of the results pages from the committed JSON files.

python -m experiments.tables            # writes them
python -m experiments.tables --check    # says which differ

A table stands in a page of experiments/ between `<!-- table: NAME -->` and
`<!-- /table -->`; NAME is a key of TABLES. Nothing is trained or measured.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import experiments.alexnet.table
import experiments.bandits.table
import experiments.benchmarks.table
import experiments.cifar.table
import experiments.claims.table
import experiments.equilibrium_mnist.table
import experiments.fuzz.table
import experiments.gtap.table
import experiments.language.oracle_table
import experiments.language.table
import experiments.mnist.table
import experiments.peers.table
import experiments.public_models.table
import experiments.repair.table
import experiments.stack.table
from experiments.markdown import HERE, Table

TABLES: dict[str, Table] = {
    **experiments.alexnet.table.TABLES,
    **experiments.bandits.table.TABLES,
    **experiments.benchmarks.table.TABLES,
    **experiments.cifar.table.TABLES,
    **experiments.claims.table.TABLES,
    **experiments.equilibrium_mnist.table.TABLES,
    **experiments.fuzz.table.TABLES,
    **experiments.gtap.table.TABLES,
    **experiments.language.oracle_table.TABLES,
    **experiments.language.table.TABLES,
    **experiments.mnist.table.TABLES,
    **experiments.peers.table.TABLES,
    **experiments.public_models.table.TABLES,
    **experiments.repair.table.TABLES,
    **experiments.stack.table.TABLES,
}
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- /table -->)", flags=re.S)


def written(page: str) -> str:
    """The text of a page with its tables as the JSON files give them.

    Raises:
      KeyError: the page names a table that TABLES does not have.
    """

    def block(match: re.Match) -> str:
        start, name, _, end = match.groups()
        if name not in TABLES:
            raise KeyError(f"no table is called {name!r}; there are {sorted(TABLES)}")
        lines = [re.sub(r"(\d)%", r"\1 %", line) for line in TABLES[name]()]
        return "".join([start, "\n", *(f"{line}\n" for line in lines), "\n", end])

    return BLOCK.sub(block, page)


def pages() -> Iterator[tuple[Path, str, str]]:
    """Every page of the experiments: where it is, its text, and the text wanted."""
    for path in sorted(HERE.glob("*/*.md")):
        text = path.read_text(encoding="utf-8")
        yield path, text, written(text)


def main(arguments: list[str]) -> int:
    """Write the pages that differ, or only name them; 1 if `--check` found any."""
    differing = [(path, wanted) for path, text, wanted in pages() if text != wanted]
    for path, wanted in differing:
        print(path.relative_to(HERE.parent))
        if "--check" not in arguments:
            path.write_text(wanted, encoding="utf-8")
    return int("--check" in arguments and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
