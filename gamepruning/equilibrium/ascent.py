"""Optax transforms that move gates: projected ascent, alone or beside the weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gamepruning.types import InputError, brief_repr

Transform = optax.GradientTransformation
MOMENTUM = 0.9  # of the weights, where no transform is given
_NO_PARAMS = "expected the current values too: call update(updates, state, params)"


def project_to_box(
    lower: float = 0.0, upper: float = 1.0
) -> optax.GradientTransformation:
    """Cut updates short so that `optax.apply_updates` lands inside [lower, upper].

    params + update becomes clip(params + update, lower, upper). Put it last in a chain:
    whatever scales its updates afterwards undoes it.

    Args:
      lower: smallest value allowed.
      upper: largest value allowed.

    Returns:
      A stateless transform; its `update` needs `params`.

    Raises:
      InputError: lower is above upper, or `update` is called without params.

    Example:
      >>> import jax.numpy as jnp
      >>> box = project_to_box()
      >>> gates = jnp.array([0.5, 0.5])
      >>> updates, _ = box.update(jnp.array([0.25, 2.0]), box.init(gates), gates)
      >>> updates.tolist()
      [0.25, 0.5]

    References:
      Shah and Khan, arXiv 2512.22106, eq. 17.
    """
    if not lower <= upper:
        raise InputError(f"expected lower <= upper, got [{lower}, {upper}]")

    def update(updates, state, params=None):
        if params is None:
            raise InputError(_NO_PARAMS)
        is_none = lambda leaf: leaf is None  # noqa: E731
        return jax.tree.map(shorten, updates, params, is_leaf=is_none), state

    def shorten(step, value):
        if step is None:  # nothing to move
            return None
        target = jnp.clip(value + step, lower, upper).astype(jnp.result_type(value))
        return target - value

    return optax.GradientTransformation(optax.init_empty_state, update)


def projected_gate_ascent(
    learning_rate: optax.ScalarOrSchedule,
    optimizer: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """Climb the utilities and stay in [0, 1]: s <- Proj(s + lr * direction) (eq. 17).

    Feed it `utility_gradient`, an ascent direction: the sign is not flipped. Keep gates
    in float32 even where the weights are bfloat16, whose spacing below 1 is 0.004: a
    smaller step leaves a gate at 1 for ever.

    Args:
      learning_rate: the step, a number or an optax schedule.
      optimizer: what turns the gradient into a direction, for example
        `optax.scale_by_adam()`; None is the plain gradient.

    Returns:
      A transform over the gates, whose `update` needs them as params. It works under
      `optax.MultiSteps` and `optax.inject_hyperparams`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx, gates = projected_gate_ascent(0.5), jnp.ones(2)
      >>> updates, _ = tx.update(jnp.array([1.0, -1.0]), tx.init(gates), gates)
      >>> optax.apply_updates(gates, updates).tolist()
      [1.0, 0.5]

    References:
      Shah and Khan, arXiv 2512.22106, eq. 17.
    """
    return optax.chain(
        optax.identity() if optimizer is None else optimizer,
        optax.scale_by_learning_rate(learning_rate, flip_sign=False),
        project_to_box(0.0, 1.0),
    )


class JointState(NamedTuple):
    """State of `joint_optimizer`: that of the weights' transform and of the gates'."""

    params: Any
    gates: Any

    __repr__ = brief_repr


def joint_optimizer(
    weight_tx: Transform | optax.ScalarOrSchedule = 0.1,
    gate_tx: Transform | optax.ScalarOrSchedule = 1e-3,
) -> optax.GradientTransformationExtraArgs:
    """One transform over {"params": weights, "gates": participation}.

    A learning rate in the place of a transform stands for the default optimizer of the
    game at that rate: SGD with momentum 0.9 for the weights, projected Adam for the
    gates. The paper names neither. Adam's step does not shrink with the gradient:
    under plain ascent with the paper's rate of 0.001 gates are still on their way after
    its 20 epochs. SGD does not make up for a shrinking gate by growing the weights
    behind it as fast as Adam does.

    A gate travels at most about steps x learning rate: 9 for MNIST's 20 epochs in
    batches of 128. Keep that product when the number of steps differs.

    Args:
      weight_tx: descends the loss over the weights: any optax optimizer, or a learning
        rate (a number or a schedule).
      gate_tx: climbs the utilities over the gates: see `projected_gate_ascent`, or a
        learning rate.

    Returns:
      A transform whose gradients, params and updates are dicts with the keys "params"
      and "gates". Extra arguments go to both. Its state is a `JointState`, whose
      `params` part is the ordinary state of `weight_tx`.

    Raises:
      InputError: `init` or `update` is given anything but such a dict.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = joint_optimizer(optax.sgd(0.1), projected_gate_ascent(0.5))
      >>> joint = {"params": jnp.ones(1), "gates": jnp.ones(2)}
      >>> grads = {"params": jnp.ones(1), "gates": -jnp.ones(2)}
      >>> updates, state = tx.update(grads, tx.init(joint), joint)
      >>> optax.apply_updates(joint, updates)["gates"].tolist()
      [0.5, 0.5]

    References:
      Shah and Khan, arXiv 2512.22106, eq. 16 and 17, section 7.
    """
    if not isinstance(weight_tx, Transform):
        weight_tx = optax.sgd(_as_rate("weight_tx", weight_tx), MOMENTUM)
    if not isinstance(gate_tx, Transform):
        rate = _as_rate("gate_tx", gate_tx)
        gate_tx = projected_gate_ascent(rate, optax.scale_by_adam())
    weights = optax.with_extra_args_support(weight_tx)
    gates = optax.with_extra_args_support(gate_tx)

    def init(params):
        _check_joint(params)
        return JointState(weights.init(params["params"]), gates.init(params["gates"]))

    def update(updates, state, params=None, **extra_args):
        _check_joint(updates)
        if params is None:
            raise InputError(_NO_PARAMS)
        _check_joint(params)
        down, weight_state = weights.update(
            updates["params"], state.params, params["params"], **extra_args
        )
        up, gate_state = gates.update(
            updates["gates"], state.gates, params["gates"], **extra_args
        )
        return {"params": down, "gates": up}, JointState(weight_state, gate_state)

    return optax.GradientTransformationExtraArgs(init, update)


def check_transform(tx: Any) -> None:
    """Check that this is an optax transform, and not the function that makes one.

    Raises:
      InputError: it is not.
    """
    if not isinstance(tx, Transform):
        name = getattr(tx, "__name__", type(tx).__name__)
        hint = f": call it, as in {name}(...)" if callable(tx) else ""
        raise InputError(
            "expected tx as an optax transform, such as gp.joint_optimizer(0.1, 1e-3) "
            f"or optax.adam(1e-3), got {name}{hint}"
        )


def _as_rate(name: str, rate: Any) -> Any:
    """A learning rate or schedule, and no function that makes a transform."""
    if callable(rate):
        first = rate(0)
        if isinstance(first, Transform):
            own = getattr(rate, "__name__", "it")
            raise InputError(
                f"{name} is the function {own}, which makes a transform: call it, as "
                f"in {own}(1e-3)"
            )
    elif not hasattr(rate, "dtype") and not isinstance(rate, int | float):
        raise InputError(
            f"expected {name} as an optax transform, a learning rate or a schedule, "
            f"got {type(rate).__name__}"
        )
    return rate


def _check_joint(tree) -> None:
    keys = sorted(tree) if isinstance(tree, dict) else None
    if keys != ["gates", "params"]:
        raise InputError(
            "expected a dict with the keys 'params' and 'gates', got "
            f"{type(tree).__name__ if keys is None else keys}: wrap them as "
            "{'params': params, 'gates': gates}"
        )
