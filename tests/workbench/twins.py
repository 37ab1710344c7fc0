"""One table written twice: plainly, and as German spreadsheets write it."""

from pathlib import Path

import numpy as np

GERMAN = str.maketrans(",.", ".,")
MARKERS = ("NA", "", "-", "?")


def write_twins(folder: Path, num: int = 200) -> tuple[str, str]:
    """Write clean.csv and messy.csv, and return their paths.

    The messy one has semicolons, decimal commas, thousands with points, a currency,
    dates with the day first, an id, markers of missing cells, quotes around delimiters,
    a class that is written in two ways, and Windows-1252 text. A class is rare in both.
    """
    rng = np.random.default_rng(0)
    days = np.array("2020-01-01", "datetime64[D]") + rng.integers(0, 900, num)
    clean = ["when,size,price,where,target"]
    messy = ["Kunden-ID;when;size;price;where;target"]
    for i, day in enumerate(days):
        where = ("Köln; Süd", "Bonn, Nord", "")[i % 3]
        target = "rare" if i % 20 == 7 else "01"[i % 2]
        size = "" if i % 11 == 5 else f"{rng.normal():.3f}"
        price = rng.integers(100, 10**6) / 100
        clean.append(f'{day},{size},{price:.2f},"{where}",{target}')
        year, month, date = str(day).split("-")
        cells = [
            f"K{i:05d}",
            f"{date}.{month}.{year}",
            size.replace(".", ",") or MARKERS[i % 4],
            f"{price:,.2f} €".translate(GERMAN),
            f'"{where}"' if where else "n/a",
            f"{target}.0" if target == "1" and i % 3 == 0 else target,
        ]
        messy.append(";".join(cells))
    (folder / "clean.csv").write_text("\n".join(clean), encoding="utf-8")
    (folder / "messy.csv").write_text("\n".join(messy), encoding="cp1252")
    return str(folder / "clean.csv"), str(folder / "messy.csv")
