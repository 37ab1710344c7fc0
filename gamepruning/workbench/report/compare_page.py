"""The report of a comparison, as one HTML page."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from gamepruning.bandits import MethodComparison
from gamepruning.workbench.jobs.compare import blocks_of, cells_of, headline
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.curve_plots import plot_curves
from gamepruning.workbench.report.formats import format_count
from gamepruning.workbench.report.page import esc, make_page, section, table
from gamepruning.workbench.report.rank_plots import plot_ranks
from gamepruning.workbench.settings.compare import EQUILIBRIUM, CompareSettings

HEAD = ("method", "kept", "after removal", "fine-tuned", "mean rank")
HEAD += ("evaluations or pulls", "seconds")


def make_figures(
    settings: CompareSettings, rows: Sequence[dict], found: MethodComparison | None
) -> dict[str, Figure]:
    """Curves of each data set, and the critical-difference diagram."""
    figures = {}
    if found is not None:
        figures["ranks"] = plot_ranks(found)
    for dataset in settings.datasets:
        own = [row for row in rows if row["dataset"] == dataset]
        names = [name for name in settings.methods if name != EQUILIBRIUM]
        if not names:
            continue
        curves = {
            name: np.array([row["values"] for row in own if row["method"] == name])
            for name in names
        }
        dense = [row["before"] for row in own if row["method"] == "dense"]
        plain = re.sub(r"\W+", "-", dataset.removesuffix(".csv")).strip("-")
        name = f"curve-{plain}"
        if name in figures:
            name += f"-{len(figures)}"
        figures[name] = plot_curves(
            curves,
            sorted({*settings.sizes, settings.keep}),
            metric=own[0]["metric"],
            dense=float(np.mean(dense)),
            marked=settings.keep,
        )
    return figures


def render_compare(
    settings: CompareSettings,
    rows: Sequence[dict],
    found: MethodComparison | None,
    figures: Mapping[str, Figure],
) -> str:
    """The whole page.

    Args:
      settings: what was asked for.
      rows: a row for each data set, seed and method.
      found: their ranks; None where there is one block.
      figures: from `make_figures`.

    Returns:
      HTML text that refers to no other file.
    """
    ranks = {} if found is None else dict(zip(found.names, found.ranks, strict=True))
    names = sorted(settings.methods, key=lambda name: ranks.get(name, 0.0))
    title = f"{len(names)} ways to prune {', '.join(settings.datasets)}"
    intro = (
        f"Every method keeps {100 * settings.keep:g} % of the players of the same "
        f"networks and gets {format_count(settings.fine_tune, 'epoch')} of "
        f"fine-tuning. Means over {format_count(settings.seeds, 'seed')} of each "
        "data set, on test data that nothing was chosen by."
    )
    lines = [
        (cells_of(name, rows, ranks), "hero" if name == names[0] and ranks else "")
        for name in ("dense", *names)
    ]
    curves = [name for name in figures if name != "ranks"]
    body = [
        f"<header><h1>{esc(title)}</h1></header>",
        section(
            "Results", f"<p>{esc(intro)}</p>", table(HEAD, lines), _blocks(settings)
        ),
        section(
            "Ranks",
            f"<p>{esc(headline(settings, found))}.</p>",
            *([_picture("ranks", figures["ranks"])] if found is not None else []),
            _pairs(found),
        ),
        section("At every size", *(_picture(name, figures[name]) for name in curves)),
        section("How this was made", f"<pre>{esc(settings.command())}</pre>"),
    ]
    return make_page(title, "\n".join(body))


def _blocks(settings: CompareSettings) -> str:
    if len(settings.datasets) > 1:
        return ""
    count = len(blocks_of(settings))
    return (
        f"<p>The blocks of the tests are {format_count(count, 'seed')} on one data "
        "set: they speak of this network and these data alone. Name several data sets "
        "to compare the methods as such.</p>"
    )


def _picture(name: str, figure: Figure) -> str:
    caption = {"ranks": "Bars join methods that are not told apart."}
    text = caption.get(name, f"{name.removeprefix('curve-')}, before fine-tuning.")
    svg = theme.to_svg(figure, name=name)
    return (
        f"<figure><figcaption>{esc(text)}</figcaption>"
        f'<div class="scroll">{svg}</div></figure>'
    )


def _pairs(found: MethodComparison | None) -> str:
    """The best method against each other one."""
    if found is None:
        return ""
    best, *others = np.argsort(found.ranks, kind="stable")
    lines = [
        (
            [
                found.names[other],
                f"{found.ranks[other]:.2f}",
                f"{found.nemenyi[best, other]:.3f}",
                f"{found.wilcoxon[best, other]:.3f}",
            ],
            "",
        )
        for other in others
    ]
    head = (f"{found.names[best]} against", "mean rank", "Nemenyi p", "Wilcoxon-Holm p")
    return table(head, lines)
