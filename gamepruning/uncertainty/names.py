"""The names of the outputs that MCUE knows."""

from typing import Literal

McueOutput = Literal[
    "label",
    "vote",
    "probabilities",
    "correct",
    "outputs",
    "total_label",
    "total_vote",
    "total_probabilities",
    "total_correct",
    "total_outputs",
]
