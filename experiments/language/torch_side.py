"""What transformers makes of checkpoints; run by `oracle`, with torch.

    python torch_side.py make FOLDER
    python torch_side.py run FOLDER
    python torch_side.py run FOLDER float64

FOLDER holds a folder for each model. `make` writes the model of each config.json, with
whatever weights. `run` reads each model and runs it from inputs.npy to outputs.npy, in
float32 unless told otherwise; nothing may be missing in its file, or left over. The
versions go to found.json.
"""
# pyright: reportMissingImports=false

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers


def class_of(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    return getattr(transformers, config["architectures"][0])


def make(folder: Path) -> None:
    kind = class_of(folder)
    config = kind.config_class.from_pretrained(folder)
    kind(config).save_pretrained(folder)


def run(folder: Path, dtype: str) -> None:
    model, info = class_of(folder).from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32
    )
    wrong = {name: keys for name, keys in info.items() if keys}
    if wrong:
        raise SystemExit(f"{folder.name}: {wrong}")
    inputs = torch.from_numpy(np.load(folder / "inputs.npy"))
    model = model.to(getattr(torch, dtype))
    with torch.no_grad():
        found = model.eval()(inputs if inputs.is_floating_point() else inputs.long())
    outputs = found.logits if hasattr(found, "logits") else found.last_hidden_state
    np.save(folder / "outputs.npy", outputs.numpy())


def main(task: str, text: str, dtype: str = "float32") -> None:
    folder = Path(text)
    transformers.utils.logging.disable_progress_bar()
    for model in sorted(path for path in folder.iterdir() if path.is_dir()):
        if task == "make":
            make(model)
        else:
            run(model, dtype)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    (folder / "found.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main(*sys.argv[1:])
