"""What a reader's result is for: a rectifier does not see how negative it is.

Least squares wants the full network's result z itself. Where only what follows counts,
a fit has more freedom. Each aim says by how much a result should change, given the full
network's and the present one at the end of the reader's affine way; the next fit is to
that change, and so on: the majorisation of the loss that counts by squares, whose
second moments stay as they are.
"""

import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamepruning.reconstruction.line import Line
from gamepruning.reconstruction.moments import wide
from gamepruning.reconstruction.passes import Passes
from gamepruning.reconstruction.readers import Reader
from gamepruning.trace.program import Lit

SOFTENED = 2.0  # the temperature of Gauss-Newton fits to probabilities


class Aim(enum.Enum):
    """What should be as in the full network.

    SAME: the result. RECTIFIED: what max(z, 0) makes of it. CLASSES: the probabilities
    of the classes that its last axis stands for, by the Kullback-Leibler divergence.
    """

    SAME = enum.auto()
    RECTIFIED = enum.auto()
    CLASSES = enum.auto()

    def change(self, full: Any, ours: Any) -> Any:
        """By how much a result should change; traced.

        RECTIFIED: max(z, 0)^2 is at most the square of the distance to a target that
        is z where z > 0, and otherwise whatever is negative already. CLASSES: the
        Hessian of the divergence is at most 1/2 (Böhning, 1992).
        """
        if self is Aim.CLASSES:
            return 2 * (jax.nn.softmax(full) - jax.nn.softmax(ours))
        return self.descent(full, ours)

    def loss(self, full: Any, ours: Any) -> Any:
        """What counts of an error, by entry: half its square, or its divergence.

        Probabilities are softened, T^2 KL at the temperature T, as in distillation.
        """
        if self is Aim.CLASSES:
            log_p, log_q = (jax.nn.log_softmax(z / SOFTENED) for z in (full, ours))
            is_possible = log_p > -jnp.inf  # a class may be masked out
            lost = jnp.where(is_possible, log_p - jnp.where(is_possible, log_q, 0), 0)
            return SOFTENED**2 * jnp.exp(log_p) * lost
        return jnp.square(self.descent(full, ours)) / 2

    def descent(self, full: Any, ours: Any) -> Any:
        """Minus the gradient of the loss."""
        full, ours = map(wide, (full, ours))
        if self is Aim.RECTIFIED:
            return jnp.where(full > 0, full, jnp.minimum(ours, 0)) - ours
        if self is Aim.CLASSES:
            p, q = (jax.nn.softmax(z / SOFTENED) for z in (full, ours))
            return SOFTENED * (p - q)
        return full - ours

    def bend(self, full: Any, ours: Any, tangent: Any) -> Any:
        """The Hessian of the loss times a tangent."""
        if self is Aim.RECTIFIED:
            return jnp.where((full > 0) | (ours > 0), tangent, 0)
        if self is Aim.CLASSES:
            q = jax.nn.softmax(ours / SOFTENED)
            return q * (tangent - (q * tangent).sum(axis=-1, keepdims=True))
        return tangent


def aim_of(reader: Reader, passes: Passes, *, classes: bool, corrected: bool) -> Aim:
    """What the result of a reader is for.

    Args:
      reader: the reader.
      passes: of its network.
      classes: the network's one output is logits of classes along its last axis.
      corrected: what else the residual stream adds is known at the reader.
    """
    line, chain = passes.readers.line, reader.chain
    if chain.stream is not None and not corrected:
        return Aim.SAME
    if chain.end in line.outputs:
        is_last = classes and len(line.outputs) == 1 and not chain.stream
        is_scaled = any(link.step.node.name in ("mul", "div") for link in chain.links)
        return Aim.CLASSES if is_last and not is_scaled else Aim.SAME
    return Aim.RECTIFIED if _is_rectified(line, passes, chain.end) else Aim.SAME


def _is_rectified(line: Line, passes: Passes, value: int) -> bool:
    """True if all that reads a value is max(value, 0)."""
    steps = {step for step, _ in line.consumers().get(value, ())}
    if not steps or not line.is_float(value):
        return False
    dtype = line.analysis.program.aval(line.original(value)).dtype
    probe = np.linspace(-3, 3, int(np.prod(line.shape(value))))
    probe = jnp.asarray(probe.reshape(line.shape(value)), dtype)
    for step in steps:
        others = [v for v in step.ins if v != value and not isinstance(v, Lit)]
        if others or step.part is not None or len(step.outs) != 1:
            return False
        if line.shape(step.outs[0]) != line.shape(value):
            return False
        env = {value: probe}
        passes.runner.run([step], env, jnp.ones(passes.num_players, bool))
        if not np.array_equal(env[step.outs[0]], jnp.maximum(probe, 0)):
            return False
    return True
