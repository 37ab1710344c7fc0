"""AlexNet for 64 x 64 images of 200 classes, and its training.

A checkpoint is written after each epoch, and resumed from.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gamepruning as gp
from gamepruning.files.checkpoint import load_checkpoint, save_checkpoint
from gamepruning.images import crop_and_flip
from gamepruning.images.folders import read_folder
from gamepruning.run.batches import predict
from gamepruning.tabular.split import split_rows
from gamepruning.workbench.datasets import Split
from gamepruning.workbench.networks.models import build_model
from gamepruning.workbench.training.loop import make_train_step, run_epoch

CLASSES, CHOICES = 200, 5000
MEAN, SCALE = (0.480, 0.448, 0.398), (0.277, 0.269, 0.282)  # of the training images
BATCH, RATE, DECAY, DROPOUT = 256, 5e-4, 0.05, 0.3
PARTS = ("train", "validation", "test")


class AlexNet:
    """The network for bytes of images; scaled, cropped and mirrored inside."""

    def __init__(self, dropout: float):
        options = {"input_shape": (64, 64, 3), "num_outputs": CLASSES}
        self.inner = build_model("alexnet", dropout=dropout, **options)

    def apply(self, params: Any, images: Any) -> jax.Array:
        return self.inner.apply(params, scaled(images))

    def train_apply(self, params: Any, images: Any, key: jax.Array) -> Any:
        own, rest = jax.random.split(key)
        return self.inner.train_apply(params, crop_and_flip(own, scaled(images)), rest)


@functools.cache
def untrained() -> AlexNet:
    """The network without dropout."""
    return AlexNet(0.0)


def scaled(images: Any) -> jax.Array:
    """Bytes as numbers of mean 0 and deviation 1, channel by channel."""
    return (images / 255.0 - jnp.array(MEAN)) / jnp.array(SCALE)


def load(folder: Path, images: Path) -> dict[str, Split]:
    """The three parts as bytes; read once, then kept in `folder`."""
    path = folder / "images.npz"
    if not path.is_file():
        found = read_folder(images, image_size=64)
        (pixels, labels), test = found.parts["train"], found.parts["test"]
        share = CHOICES / len(labels)
        key = jax.random.key(0)
        rows = split_rows(key, labels, validation=share, test=0.0)
        kept = (rows.train, rows.validation)
        parts = [*((pixels[own], labels[own]) for own in kept), test]
        named = {
            f"{part}_{what}": array
            for part, pair in zip(PARTS, parts, strict=True)
            for what, array in zip(("images", "labels"), pair, strict=True)
        }
        np.savez(path, **named)
    with np.load(path) as file:
        return {p: Split(file[f"{p}_images"], file[f"{p}_labels"]) for p in PARTS}


def accuracy(params: Any, part: Split, apply: Callable | None = None) -> float:
    """The share of images whose class is found, by AlexNet or a smaller one."""
    apply = apply or untrained().apply
    outputs = predict(apply, params, part.inputs, batch_size=500)
    return round(float((np.asarray(outputs).argmax(-1) == part.labels).mean()), 4)


def initial(epochs: int, num_images: int) -> tuple[Any, Callable]:
    """The state before training, and a step of it."""
    model = AlexNet(DROPOUT)
    steps = epochs * (num_images // BATCH)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, RATE, steps // 20, steps, RATE / 1000
    )
    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=DECAY)
    )
    init, step = make_train_step(model, gp.cross_entropy, tx)
    keys = jax.random.split(jax.random.key(0), 3)
    return jax.jit(init)(keys[0], model.inner.init(keys[1])), step


def checkpoint_path(folder: Path, epochs: int) -> Path:
    return folder / f"alexnet-{epochs}.npz"


def train(folder: Path, parts: dict[str, Split], epochs: int) -> dict[str, Any]:
    """Epoch by epoch, resumed from the last checkpoint; what is known of each."""
    state, step = initial(epochs, len(parts["train"].labels))
    known: dict[str, Any] = {"loss": [], "validation": [], "seconds": []}
    path = checkpoint_path(folder, epochs)
    if path.exists():
        state, known = load_checkpoint(path, state)
    data = Split(*map(jnp.asarray, parts["train"]))
    order = jax.random.split(jax.random.key(0), 3)[2]
    for epoch in range(len(known["loss"]), epochs):
        began = time.perf_counter()
        own = jax.random.fold_in(order, epoch)
        state, info = run_epoch(own, step, state, data, batch_size=BATCH)
        known["loss"].append(round(float(info.loss), 4))
        known["validation"].append(accuracy(state.params, parts["validation"]))
        known["seconds"].append(round(time.perf_counter() - began, 1))
        save_checkpoint(path, state, meta=known)
        print(epoch + 1, {name: own[-1] for name, own in known.items()}, flush=True)
    known["test"] = accuracy(state.params, parts["test"])
    return {"epochs": epochs, "batch": BATCH, "rate": RATE, "dropout": DROPOUT, **known}


def trained_params(folder: Path, parts: dict[str, Split], epochs: int) -> Any:
    """The parameters at the end of training."""
    path = checkpoint_path(folder, epochs)
    if not path.exists():
        raise SystemExit(f"no checkpoint {path}: run the stage train first")
    state, _ = initial(epochs, len(parts["train"].labels))
    state, known = load_checkpoint(path, state)
    if len(known["loss"]) < epochs:
        raise SystemExit(f"{path} is not trained to its end: run the stage train")
    return state.params
