"""One HTML page that tells a run, with nothing loaded from anywhere.

Styles and figures are inline; the page follows the reader's light or dark theme.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gamepruning.workbench.report.formats import (
    format_bytes,
    format_kept,
    format_metric,
    format_ratio,
)
from gamepruning.workbench.report.page_style import PAGE_STYLE
from gamepruning.workbench.report.results import RunResult


class Picture(NamedTuple):
    """A figure for the page.

    Attributes:
      svg: the drawing, an `<svg>` element.
      title: what it shows.
      caption: how to read it.
      section: "result", "players" or "training".
    """

    svg: str
    title: str
    caption: str
    section: str


def render_report(
    result: RunResult, pictures: Sequence[Picture], *, small_module: str
) -> str:
    """The whole page.

    Args:
      result: what the run found.
      pictures: its figures.
      small_module: Python that loads and calls the small model.

    Returns:
      HTML text that refers to no other file.
    """
    body = "\n".join(
        [
            _header(result),
            _tiles(result),
            _notes(result.notes),
            section(
                "Beside the others",
                _contest_intro(result),
                contest_table(result),
                _pictures(pictures, "result"),
            ),
            section(
                "Who stays",
                family_table(result),
                _pictures(pictures, "players"),
            ),
            section("What it costs", cost_table(result)),
            section("How training went", _pictures(pictures, "training")),
            section("Use the small model", _usage(small_module)),
            section("How this was made", _making(result)),
        ]
    )
    return make_page(_title(result), body)


def make_page(title: str, body: str) -> str:
    """A page of its own: the look, the title, and what stands on it."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{esc(title)}</title>\n<style>{PAGE_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _title(result: RunResult) -> str:
    return f"{result.model} on {result.dataset}: {result.pruned.label}"


def _header(result: RunResult) -> str:
    stage = "after fine-tuning" if result.shipped == "tuned" else "after removal"
    small = format_metric(result.shipped_value, result.metric)
    dense = format_metric(result.dense.final, result.metric)
    return (
        f'<header><p class="brand">gamepruning</p>'
        f"<h1>{esc(_title(result))}</h1>"
        f'<p class="lead"><b>{result.num_kept:,} of {result.num_players:,} players '
        f"stay</b>; the others are gone from every array. The small network reaches "
        f"<b>{small}</b> test {esc(result.metric)} {stage}, the dense one {dense}.</p>"
        "</header>"
    )


def _tiles(result: RunResult) -> str:
    dense, small = result.cost_dense, result.cost_small
    tiles = [
        (f"{100 * result.removed_fraction:.1f} %", "of the players removed"),
        (format_ratio(dense.params, small.params), "fewer parameters"),
        (format_ratio(dense.macs, small.macs), "fewer multiplications"),
        (
            format_ratio(dense.latency_ms, small.latency_ms),
            f"faster on {small.latency_batch:,} examples",
        ),
        (
            f"{result.max_error:.0e}" if result.max_error else "none",
            "largest relative difference from the gated full model",
        ),
    ]
    cells = "".join(
        f"<div><b>{esc(a)}</b><span>{esc(b)}</span></div>" for a, b in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<p class="note">{esc(note)}</p>' for note in notes)


def _contest_intro(result: RunResult) -> str:
    rivals = (
        "All networks below the dense one have the same number of players in every "
        "family, and all were trained for the same number of epochs"
        f"{' and fine-tuned alike' if result.is_tuned else ', without fine-tuning'}. "
    )
    if any(row.key == "scratch" for row in result.rivals):
        rivals += "From scratch, the better of two learning rates counts. "
    text = (
        f"Test {result.metric} on {result.num_test:,} examples on which nothing was "
        f"chosen; choices were made on {result.num_validation:,} validation examples."
    )
    return f"<p>{esc((rivals if result.rivals else '') + text)}</p>"


def contest_table(result: RunResult) -> str:
    """The contenders and the dense network as an HTML table."""
    metric = result.metric
    head = ["network", "players kept", "gates on", "after removal", result.last_stage]
    rows = []
    for row in (result.dense, *result.contenders):
        values = [format_metric(v, metric) for v in (row.gated, row.removed, row.tuned)]
        cells = [row.label, format_kept(row), *values]
        rows.append((cells, "hero" if row.key == result.pruned.key else ""))
    return table(head, rows)


def family_table(result: RunResult) -> str:
    """Players kept in each family as an HTML table with bars."""
    rows = []
    for family in result.families:
        share = 100 * family.kept / max(family.total, 1)
        bar = f'<span class="bar"><i style="width:{max(share, 0.8):.1f}%"></i></span>'
        rescued = f" ({family.rescued} rescued)" if family.rescued else ""
        rows.append(
            f"<tr><td>{esc(family.name)}</td><td>{family.kept:,}{rescued}</td>"
            f"<td>{family.total:,}</td><td>{share:.1f} %</td><td>{bar}</td></tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("family", "kept", "of", "share", ""))
    return _wrap(f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>")


def cost_table(result: RunResult) -> str:
    """Size and speed, dense and small, as an HTML table."""
    dense, small = result.cost_dense, result.cost_small

    def latency(cost) -> str:
        return (
            f"{cost.latency_ms:.3g} ms "
            f"({cost.latency_p10_ms:.3g} to {cost.latency_p90_ms:.3g})"
        )

    rows = [
        ("parameters", f"{dense.params:,}", f"{small.params:,}", "params"),
        (
            "size",
            format_bytes(dense.num_bytes),
            format_bytes(small.num_bytes),
            "num_bytes",
        ),
        (
            "multiply-accumulates for one example",
            f"{dense.macs:,}",
            f"{small.macs:,}",
            "macs",
        ),
        (
            f"latency of {dense.latency_batch:,} examples: median "
            "(the middle 80 % of all calls)",
            latency(dense),
            latency(small),
            "latency_ms",
        ),
    ]
    body = [
        ([name, a, b, format_ratio(getattr(dense, key), getattr(small, key))], "")
        for name, a, b, key in rows
    ]
    return table(["", "dense", "small", "ratio"], body)


def _pictures(pictures: Sequence[Picture], section: str) -> str:
    return "".join(
        f"<figure><figcaption><b>{esc(picture.title)}</b> {esc(picture.caption)}"
        f'</figcaption><div class="scroll">{picture.svg}</div></figure>'
        for picture in pictures
        if picture.section == section
    )


def _usage(small_module: str) -> str:
    return (
        "<p>The folder of this page holds the small model three times: weights as "
        "<code>model/model.safetensors</code>, a program that needs no code of yours "
        "as <code>model/model.stablehlo</code>, and an orbax checkpoint. "
        "<code>plan.json</code> says which indices stay and cuts them out of any "
        f"checkpoint of the same network.</p><pre>{esc(small_module)}</pre>"
    )


def _making(result: RunResult) -> str:
    settings = _pairs(result.settings)
    seconds = _pairs({k: f"{v:.1f} s" for k, v in result.seconds.items()})
    versions = _pairs(result.versions)
    return (
        f"<pre>{esc(result.command)}</pre>"
        f"<details><summary>Settings</summary>{settings}</details>"
        f"<details><summary>Time</summary>{seconds}</details>"
        f"<details><summary>Versions</summary>{versions}</details>"
    )


def _pairs(values: Mapping) -> str:
    rows = "".join(
        f"<tr><td>{esc(str(k))}</td><td>{esc(str(v))}</td></tr>"
        for k, v in values.items()
    )
    return _wrap(f"<tbody>{rows}</tbody>", kind="pairs")


def section(title: str, *parts: str) -> str:
    """A part of the page under its title; nothing if there is nothing in it."""
    content = "\n".join(part for part in parts if part)
    return f"<section><h2>{esc(title)}</h2>{content}</section>" if content else ""


def table(head: Sequence[str], rows: Iterable[tuple[Sequence[str], str]]) -> str:
    """A table of cells; a row comes with its CSS class."""
    header = "".join(f"<th>{esc(name)}</th>" for name in head)
    body = "".join(
        f'<tr class="{kind}">' + "".join(f"<td>{esc(c)}</td>" for c in cells) + "</tr>"
        for cells, kind in rows
    )
    return _wrap(f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody>")


def _wrap(table: str, *, kind: str = "") -> str:
    return f'<div class="scroll"><table class="{kind}">{table}</table></div>'


def esc(text: str) -> str:
    """Text as HTML."""
    return html.escape(str(text))
