"""What Torch-Pruning makes of a ResNet for CIFAR; run by `beside_torch`, with torch.

    python torch_side.py FOLDER

The folder holds weights.safetensors, images.npy [B, 32, 32, 3], and task.json: the
depth and how many inner channels stay in each block. Into it go outputs.npy [B, 10] and
found.json: who stays in each block, multiply-adds and parameters.
"""
# pyright: reportMissingImports=false

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters."""

    def __init__(self, inner: int, outer: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.stride, self.more = stride, (outer - inner) // 2

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(y + x)


class ResNet(nn.Module):
    """Of 6 n + 2 layers, as published."""

    def __init__(self, depth: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for stage, width in enumerate((16, 32, 64)):
            blocks = [
                Block(width // 2, width, 2)
                if stage and not number
                else Block(width, width, 1)
                for number in range((depth - 2) // 6)
            ]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def prune(model: ResNet, counts: list[int]) -> list[list[int]]:
    """Take out the inner channels of least magnitude; who stays in each block."""
    example = torch.zeros(1, 3, 32, 32)
    graph = torch_pruning.DependencyGraph().build_dependency(model, example)
    importance = torch_pruning.importance.MagnitudeImportance(p=2)
    blocks = [*model.layer1, *model.layer2, *model.layer3]
    kept = []
    for block, count in zip(blocks, counts, strict=True):
        cut, every = torch_pruning.prune_conv_out_channels, block.conv1.out_channels
        group = graph.get_pruning_group(block.conv1, cut, idxs=list(range(every)))
        order = importance(group).argsort()
        gone = sorted(order[: every - count].tolist())
        kept.append(sorted(set(range(every)) - set(gone)))
        if gone:
            graph.get_pruning_group(block.conv1, cut, idxs=gone).prune()
    return kept


def main(folder: Path) -> None:
    """Read the task, prune, and write what came out."""
    task = json.loads((folder / "task.json").read_text())
    model = ResNet(task["depth"]).eval()
    weights = load_file(folder / "weights.safetensors")
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert not [key for key in missing if "num_batches" not in key], missing
    kept = prune(model, task["counts"])
    images = torch.from_numpy(np.load(folder / "images.npy").transpose(0, 3, 1, 2))
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in images.split(500)])
        macs, size = torch_pruning.utils.count_ops_and_params(model, images[:1])
    np.save(folder / "outputs.npy", outputs.numpy())
    found = {
        "kept": kept,
        "macs": macs,
        "parameters": size,
        "versions": {
            "torch": torch.__version__,
            "torch_pruning": torch_pruning.__version__,
        },
    }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
