"""Draw accuracy by size for LeNet-5 from the committed results.

python -m experiments.gtap.figure
"""

from experiments.markdown import HERE, read
from gamepruning.workbench.report import theme
from gamepruning.workbench.report.method_plots import plot_curves

METHODS = {
    "building with exchanges": "building beta + exchanges",
    "iterated pruning": "pruning beta",
    "iterated building": "building beta",
    "random": "random",
    "Taylor": "taylor",
    "magnitude": "magnitude_l2",
}


PLACE = HERE / "gtap" / "figures" / "lenet5.png"


def main() -> None:
    summary = read("gtap/lenet5.json")
    runs = [read(f"gtap/results/lenet5_{seed}.json") for seed in summary["seeds"]]
    curves = {
        title: [run["methods"][method]["test"] for run in runs]
        for title, method in METHODS.items()
    }
    figure = plot_curves(
        curves,
        summary["sizes"],
        dense=summary["dense"]["mean"],
        stage="of LeNet-5, no retraining, five seeds",
    )
    theme.save_png(figure, PLACE)


if __name__ == "__main__":
    main()
