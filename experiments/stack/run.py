"""What the JAX stack does with a small model: trainers, checkpoints, converters.

python -m experiments.stack.run              # every part whose packages are installed
python -m experiments.stack.run --only onnx

The packages are not needed by gamepruning. Into an environment of its own:
`pip install google-tunix qwix onnx onnx-ir onnxruntime litert-converter ai-edge-litert`
and `pip install --no-deps jax2onnx dm-pix orbax-export` (jax2onnx asks for an older
orbax). A part without its packages says so in results.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.stack import parts
from gamepruning.files.atomic import new_file

RESULTS = Path(__file__).parent / "results.json"
COMMAND = "python -m experiments.stack.run"
PARTS: dict[str, tuple[tuple[str, ...], Callable[[], Any]]] = {
    "maxtext": ((), lambda: parts.maxtext(Path(tempfile.mkdtemp()))),
    "tunix": (("google-tunix",), parts.distilled),
    "qwix": (("qwix",), parts.quantised),
    "onnx": (
        ("jax2onnx", "onnxruntime"),
        lambda: parts.converted(parts.by_onnx, parts.models_to_convert()),
    ),
    "litert": (
        ("litert-converter", "ai-edge-litert"),
        lambda: parts.converted(parts.by_litert, parts.models_to_convert()),
    ),
}


def main() -> None:
    """Run the parts, one after the other, and keep what earlier runs found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, nargs="*", default=list(PARTS))
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    rows = found.get("parts", {})
    for name in parser.parse_args().only:
        packages, run = PARTS[name]
        start = time.perf_counter()
        if reason := parts.missing(*packages):
            print(name, reason)
            rows.setdefault(name, {"skipped": reason})
            continue
        rows[name] = {"found": run(), "seconds": round(time.perf_counter() - start, 1)}
        print(name, json.dumps(rows[name]))
        told = {"command": COMMAND, "versions": parts.versions(), "parts": rows}
        with new_file(RESULTS) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
