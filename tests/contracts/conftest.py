"""Each contract counts its own traces."""

import chex
import pytest


@pytest.fixture(autouse=True)
def fresh_trace_counter():
    chex.clear_trace_counter()
