"""Puts what was fitted into the parameters."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from gamepruning.reconstruction.chain import Bias
from gamepruning.reconstruction.entries import FlatParams
from gamepruning.reconstruction.fit import ReaderFit
from gamepruning.reconstruction.passes import LineRun
from gamepruning.reconstruction.readers import Reader, Shared


class BiasPlaces(NamedTuple):
    """Where a change of a reader's results goes.

    Attributes:
      layout: of the parameters.
      places: for each output its place among them, [G, M].
      factor: what a change of the output is multiplied by on its way there, [G, M].
    """

    layout: FlatParams
    places: Int[np.ndarray, "G M"]
    factor: Float[np.ndarray, "G M"]

    def add(self, params: list[Any], change: Float[np.ndarray, "G M"]) -> None:
        """Change the outputs so: the parameters that hold the bias are replaced."""
        self.layout.add(params, self.places, self.factor * change)


def bias_places(run: LineRun, shared: Shared) -> BiasPlaces | None:
    """Where the bias of a reader is; None where it has none of its own.

    A bias has one entry for each output, the same for all rows, and a change of an
    output is multiplied by the same factor in all rows on its way there.
    """
    reader = shared.readers[0]
    bias = reader.chain.bias
    if len(shared.readers) > 1 or bias is None:
        return None
    shape = run.passes.readers.line.shape(reader.step.outs[0])
    factor, places = _follow(run, bias, shape)
    factor, places = map(reader.product.results, (factor, places))
    own, first = places[:, 0], factor[:, 0]
    is_bias = (places == own[:, None]).all() and len(np.unique(own)) == own.size
    if not is_bias or not (factor == first[:, None]).all():
        return None
    return BiasPlaces(bias.entries.layout, own, bias.sign * first)


def _follow(run: LineRun, bias: Bias, shape: tuple) -> tuple[np.ndarray, np.ndarray]:
    """By entry of a result: what a change of 1 becomes, and the bias that it gets."""
    runner = run.passes.runner
    factor, places = np.ones(shape), bias.entries.places
    env = run.constant([link.other for link in bias.links if link.has_other])
    for link in bias.links:
        other = runner.factor(env, link)
        factor = link.forward(factor, None if other is None else np.asarray(other))
    for link in reversed(bias.links):
        factor, places = link.moved_back(factor), link.moved_back(places)
    return factor, places


def stored_change(
    run: LineRun, reader: Reader, found: ReaderFit
) -> Float[np.ndarray, "G K M"] | None:
    """What the weights would change by, rounded as their type does.

    Returns:
      None where they are in single precision or better.
    """
    keep_x, keep_z = reader.kept_inputs, reader.kept_outputs
    place = reader.weights.places[:, keep_x][:, :, keep_z]
    there = reader.has_input[:, keep_x, None] & reader.has_output[:, None, keep_z]
    layout, params = reader.weights.layout, list(run.params)
    kinds = [params[leaf].dtype for leaf in layout.leaves(place[there])]
    if all(jnp.finfo(kind).bits >= 32 for kind in kinds):
        return None
    before = layout.read(params, place[there])
    layout.add(params, place[there], found.weights[there])
    change = np.zeros(found.weights.shape)
    change[there] = layout.read(params, place[there]) - before
    return change


def write_fit(run: LineRun, reader: Reader, found: ReaderFit, shift, bias) -> None:
    """Add a fit to the weights and the bias of a reader, in the parameters of a run."""
    keep_x, keep_z = reader.kept_inputs, reader.kept_outputs
    place = reader.weights.places[:, keep_x][:, :, keep_z]
    there = reader.has_input[:, keep_x, None] & reader.has_output[:, None, keep_z]
    reader.weights.layout.add(run.params, place[there], found.weights[there])
    if bias is not None:
        change = np.zeros(reader.has_output.shape)
        change[:, keep_z] = found.bias - np.einsum("gk,gkm->gm", shift.x, found.weights)
        change = np.where(reader.has_output, change, 0)
        bias.add(run.params, change)
