"""Models to trace: every kind of network that we could think of, with known players.

`CASES` maps a name to a `Case`: how to build the model, and what is expected of it.
A new model is one decorated function in one of the modules beside this file.
"""

from tests.zoo import (  # noqa: F401  (they enter their models into CASES)
    attention,
    convolution,
    dense,
    frameworks,
    sequence,
    training,
    tricks,
)
from tests.zoo.case import CASES, Case, Draw, Model

__all__ = ["CASES", "Case", "Draw", "Model"]
