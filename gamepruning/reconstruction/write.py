"""Puts what was fitted into the parameters."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gamepruning.reconstruction.chain import Bias
from gamepruning.reconstruction.fit import Fit
from gamepruning.reconstruction.passes import Run
from gamepruning.reconstruction.readers import Reader


def write_fit(run: Run, reader: Reader, found: Fit, shift, has_bias: bool) -> None:
    """Add a fit to the weights and the bias of a reader, in the parameters of a run."""
    keep_x, keep_z = reader.kept_inputs, reader.kept_outputs
    place = reader.weights.places[:, keep_x][:, :, keep_z]
    there = reader.has_input[:, keep_x, None] & reader.has_output[:, None, keep_z]
    leaf = reader.weights.leaf
    run.params[leaf] = _added(run.params[leaf], place[there], found.weights[there])
    bias = reader.chain.bias
    if has_bias and bias is not None:
        change = np.zeros(reader.has_output.shape)
        change[:, keep_z] = found.bias - np.einsum("gk,gkm->gm", shift.x, found.weights)
        _write_bias(run, reader, bias, np.where(reader.has_output, change, 0))


def _write_bias(
    run: Run, reader: Reader, bias: Bias, change: Float[np.ndarray, "G M"]
) -> None:
    """Follow one entry of each output on its way to where the bias is added."""
    runner = run.passes.runner
    shape = run.passes.readers.line.shape(reader.step.outs[0])
    position = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    rows = reader.product.results(position)[:, 0]
    moved, marks = np.zeros(shape), np.zeros(shape, bool)
    moved.reshape(-1)[rows] = change
    marks.reshape(-1)[rows] = True
    env = run.constant([link.other for link in bias.links if link.has_other])
    for link in bias.links:
        factor = runner.factor(env, link)
        moved = link.forward(moved, None if factor is None else np.asarray(factor))
        marks = link.moved(marks)
    leaf = bias.entries.leaf
    run.params[leaf] = _added(
        run.params[leaf], bias.entries.places[marks], bias.sign * moved[marks]
    )


def _added(leaf: Any, places: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """An array with something added to some entries."""
    array = np.array(leaf)
    flat = array.reshape(-1)
    flat[places] = (flat[places].astype(float) + amounts).astype(array.dtype)
    return array
