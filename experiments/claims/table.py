"""The tables of README.md: every claim of the three papers, from the JSON files.

python -m experiments.claims.table
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

from experiments.claims import bandits, equilibrium, gtap
from experiments.claims.row import Row
from experiments.markdown import Table, table

PAPERS: dict[str, Callable[[], list[Row]]] = {
    "gtap": gtap.rows,
    "equilibrium": equilibrium.rows,
    "bandits": bandits.rows,
}
TITLES = {
    "gtap": "GTAP (2311.10468)",
    "equilibrium": "Pruning as a Game (2512.22106)",
    "bandits": "Bandits (2606.07615)",
}


def claims(paper: str) -> list[str]:
    """All rows of one paper."""
    heads = ("where", "claim", "paper", "here", "deviation", "verdict", "command")
    cells = [
        (*row[:6], f"`{row.command}`" + (f" → {_link(row)}" if row.source else ""))
        for row in PAPERS[paper]()
    ]
    return table(heads, "lllllll", cells)


def _link(row: Row) -> str:
    return f"[{row.source.rsplit('/', 1)[-1]}](../{row.source})"


def summary() -> list[str]:
    """How many rows of each paper have which kind of verdict."""
    counts = {paper: Counter(map(_kind, make())) for paper, make in PAPERS.items()}
    kinds = sorted({kind for count in counts.values() for kind in count})
    rows = [
        (TITLES[paper], *(str(count[kind]) for kind in kinds), str(count.total()))
        for paper, count in counts.items()
    ]
    return table(("paper", *kinds, "rows"), "l" + "r" * (len(kinds) + 1), rows)


def _kind(row: Row) -> str:
    """The verdict without its numbers."""
    first = row.verdict.split(":")[0].split(";")[0].split(",")[0]
    known = ("holds", "does not hold", "not measured", "in part")
    return first if first in known else "a figure beside a figure"


TABLES: dict[str, Table] = {
    "claims-summary": summary,
    **{f"claims-{paper}": partial(claims, paper) for paper in PAPERS},
}


def main() -> None:
    for paper, title in TITLES.items():
        print("\n".join([f"\n**{title}**\n", *claims(paper)]))


if __name__ == "__main__":
    main()
