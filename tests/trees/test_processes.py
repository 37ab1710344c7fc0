"""What processes say when another has ended, and what an exchange takes."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from benchmarks.mesh import count_collectives
from gamepruning.trees.processes import summing, together
from gamepruning.types import LostProcess


@pytest.mark.parametrize("told", ["", "the skip connection has the wrong width"])
def test_an_error_of_the_network_is_told_as_it_is(told):
    with pytest.raises(ValueError, match=f"^{told}$"), together():
        raise ValueError(told)


@pytest.mark.parametrize("kind", [ValueError, jax.errors.JaxRuntimeError])
def test_an_error_of_the_runtime_is_a_lost_process(kind):
    with pytest.raises(LostProcess, match="^another process has ended"), together():
        raise kind("UNKNOWN: Gloo AllGather failed: Connection reset by peer")


def test_a_broadcast_holds_two_copies_whatever_the_number_of_processes():
    mesh = Mesh(np.array(jax.devices()), ("processes",))
    rows = np.zeros((mesh.size, 2**12), np.uint32)
    rows[0] = np.arange(2**12)
    split = jax.device_put(rows, NamedSharding(mesh, P("processes")))
    np.testing.assert_array_equal(summing(mesh)(split), rows[0])
    program = summing(mesh).lower(split).compile()
    assert not count_collectives(program.as_text())["all-gather"]
    held = program.memory_analysis()
    assert held.temp_size_in_bytes <= 1.1 * rows[0].nbytes
    assert held.output_size_in_bytes <= 1.1 * rows[0].nbytes
