"""Pages that are made when the site is built: results, the API reference, the menu.

Results are the pages of `experiments/`, whose tables are written from the committed
JSON files; what they link to is copied beside them.
"""

import importlib
import re
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"
RESULTS = {
    "claims": "The papers' claims, one by one",
    "equilibrium_mnist": "The equilibrium",
    "mnist": "Presets on MNIST",
    "gtap": "Power indices",
    "alexnet": "AlexNet",
    "bandits": "Bandits",
    "peers": "Other libraries",
    "repair": "Repair",
    "cifar": "ResNets on CIFAR-10",
    "language": "Language models",
    "stack": "The JAX stack",
    "public_models": "Public models",
    "benchmarks": "Speed",
    "fuzz": "Random networks",
}
NAMESPACES = {
    "players": "Players",
    "equilibrium": "Equilibrium",
    "coalitions": "Coalitions",
    "uncertainty": "Uncertainty",
    "bandits": "Bandits",
    "baselines": "Baselines",
    "selection": "Selection",
    "compaction": "Compaction",
    "huggingface": "Checkpoints of Hugging Face",
    "tabular": "Tables",
    "stats": "Statistics",
    "metrics": "Metrics",
    "types": "Types",
    "reconstruction": "Reconstruction and repair",
    "distillation": "Distillation",
    "export": "Export",
    "images": "Images",
}
LINK = re.compile(r"(\]\()([^)#:\s]+)(\))")
MENU = """\
* [Home](index.md)
* Guide
    * [Your own model](guide/your-model.md)
    * [Train a network of your own](guide/own-network.md)
    * [Depth](guide/depth.md)
    * [Hidden width](guide/width.md)
    * [Mixtures of experts](guide/experts.md)
    * [The equilibrium](guide/equilibrium.md)
    * [Power indices](guide/power-indices.md)
    * [Bandits and a comparison](guide/bandits.md)
    * [Repair](guide/repair.md)
    * [Several devices or processes](guide/scale.md)
    * [Use the small model](guide/small-model.md)
    * [Back to a module](guide/modules.md)
    * [Checkpoints of Hugging Face](guide/huggingface.md)
    * [With MaxText, Tunix, Qwix, ONNX and LiteRT](guide/stack.md)
    * [Tables](guide/tables.md)
    * [Images](guide/images.md)
    * [Commands](guide/commands.md)
* Extend
    * [A new primitive](extend/new-primitive.md)
    * [A new method](extend/new-method.md)
* Results
    * [Overview](results/index.md)
{results}
* Reference
{reference}
* [Glossary](glossary.md)
* [Changelog](changelog.md)
"""


def write(path: str, content: str | bytes) -> None:
    mode = "wb" if isinstance(content, bytes) else "w"
    with mkdocs_gen_files.open(path, mode) as file:
        file.write(content)


def copy_results(folder: str) -> None:
    """The pages of an experiment, with the files that they link to."""
    for page in sorted((EXPERIMENTS / folder).glob("*.md")):
        write(f"results/{page_of(page)}", with_links(page))


def with_links(page: Path) -> str:
    """A page whose links to experiments lead to their pages and files on the site."""

    def link(match: re.Match) -> str:
        target = match[2]
        file = (page.parent / target).resolve()
        if file.suffix == ".md" and file.parent.parent == EXPERIMENTS:
            return f"{match[1]}{page_of(file)}{match[3]}"
        if not file.is_file():
            where = page.relative_to(ROOT).as_posix()
            raise FileNotFoundError(f"{where} links to {target}, which does not exist")
        where = file.relative_to(ROOT).as_posix()
        write(f"results/files/{where}", file.read_bytes())
        return f"{match[1]}files/{where}{match[3]}"

    return LINK.sub(link, page.read_text("utf-8"))


def page_of(file: Path) -> str:
    folder = file.parent.name
    if file.stem == "README":
        return f"{folder}.md"
    return f"{folder}-{file.stem.lower()}.md"


def menu_of(folder: str, title: str) -> list[str]:
    """The page of a study, and below it the others of its folder."""
    lines = [f"    * [{title}](results/{folder}.md)"]
    for page in sorted((EXPERIMENTS / folder).glob("*.md")):
        if page.stem != "README":
            head = page.read_text("utf-8").partition("\n")[0].lstrip("# ")
            lines.append(f"    * [{head}](results/{page_of(page)})")
    return lines


def write_reference(name: str, title: str) -> None:
    """One page for a namespace: what it exports, in its own order."""
    module = importlib.import_module(f"gamepruning.{name}")
    lines = [f"# {title}", "", f"`gamepruning.{name}`", ""]
    lines += [_summary(module), ""]
    public = getattr(module, "__all__", None)
    if public is None:
        lines += [f"::: gamepruning.{name}", "    options: {show_root_heading: false}"]
    else:
        for item in public:
            home = str(getattr(getattr(module, item), "__module__", module.__name__))
            if home.startswith(module.__name__):
                lines += [f"::: {home}.{item}", ""]
            elif not home.startswith("gamepruning"):  # a table or a constant
                lines += [f"::: {module.__name__}.{item}", ""]
    write(f"reference/{name}.md", "\n".join(lines) + "\n")


def _summary(module) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]


for folder in RESULTS:
    copy_results(folder)
write("results/index.md", with_links(ROOT / "docs/results/index.md"))
for name, title in NAMESPACES.items():
    write_reference(name, title)
write("changelog.md", (ROOT / "CHANGELOG.md").read_text("utf-8"))
results = [line for name, title in RESULTS.items() for line in menu_of(name, title)]
reference = [
    f"    * [{title}](reference/{name}.md)" for name, title in NAMESPACES.items()
]
write(
    "NAV.md",
    MENU.format(results="\n".join(results), reference="\n".join(reference)),
)
