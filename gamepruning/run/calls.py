"""What the model has around its computation, put around it again.

The program is flat: the bodies of `jax.checkpoint` and of jitted functions are inlined.
Its nodes remember these calls, and here they come back.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from gamepruning.trace.program import Lit, Node, Program, Remat


@contextlib.contextmanager
def named(scope: Sequence[str]) -> Iterator[None]:
    """The names of scopes, from the outside in, around what is computed."""
    with contextlib.ExitStack() as stack:
        for name in scope:
            stack.enter_context(jax.named_scope(name))
        yield


def remat_at(node: Node, depth: int) -> Remat | None:
    """The call of `jax.checkpoint` around a node at a depth, if there is one."""
    return node.remats[depth] if depth < len(node.remats) else None


def boundary(program: Program, nodes: Sequence[Node]) -> tuple[list[int], list[int]]:
    """The values that pass into a stretch of nodes, and those that pass out of it.

    Args:
      program: the program.
      nodes: some nodes of one of its graphs.

    Returns:
      What the nodes read and do not make, and what they make and others read.
    """
    inside = set(nodes)
    made = dict.fromkeys(value for node in nodes for value in node.outs)
    read = dict.fromkeys(
        v for node in nodes for v in node.ins if not isinstance(v, Lit)
    )
    leaving = [v for v in made if not program.readers.get(v, set()) <= inside]
    return [v for v in read if v not in made], leaving


def under(
    remat: Remat, fn: Callable[..., list], operands: Sequence[int]
) -> Callable[..., list]:
    """A function under `jax.checkpoint`, as the model has it.

    Args:
      remat: the call in the model.
      fn: the function.
      operands: what its arguments are in the program.
    """
    guarded = [remat.prevent_cse and v not in remat.exempt for v in operands]
    prevent_cse = tuple(guarded) if remat.exempt else remat.prevent_cse
    kept = jax.checkpoint(fn, policy=remat.policy, prevent_cse=prevent_cse)
    if not (remat.differentiated and any(guarded)):
        return kept
    return lambda *args: kept(*_hidden(args, guarded))


def _hidden(args: Sequence[jax.Array], guarded: Sequence[bool]) -> list[jax.Array]:
    """Arrays of which XLA does not see, where guarded, what they are."""
    pairs = zip(args, guarded, strict=True)
    places = [
        k for k, (x, is_guarded) in enumerate(pairs) if is_guarded and _is_plain(x)
    ]
    hidden = lax.optimization_barrier([args[k] for k in places])
    found = dict(zip(places, hidden, strict=True))
    return [found.get(k, array) for k, array in enumerate(args)]


def _is_plain(array: jax.Array) -> bool:
    """True for numbers, False for random keys."""
    return not jnp.issubdtype(array.dtype, jax.dtypes.extended)
