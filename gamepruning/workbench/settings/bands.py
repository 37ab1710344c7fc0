"""The settings of `gamepruning bands`, checked before anything is done."""

import dataclasses
from typing import Annotated, ClassVar

from gamepruning.uncertainty.names import McueOutput
from gamepruning.workbench.settings import parts
from gamepruning.workbench.settings.base import CommandSettings, Within


@dataclasses.dataclass(frozen=True, kw_only=True)
class BandsSettings(CommandSettings):
    """What `gamepruning bands` was asked to do.

    Attributes:
      output: Whose variance is measured: the predicted class as a number (label) or as
        a vote, whether it is correct, the softmax (probabilities), or the logits
        (outputs); within each input, or (total_...) over the inputs as well.
      points: Points of the grid of p and of q; more of them cost nothing.
      samples: Random sub-networks of each size.
      sizes: Number of sizes of sub-networks from which all points are computed.
      examples: Validation examples to look at, drawn at random.
      families: Families of players to take out of (default: all); gamepruning explain
        names them.
      load: Weights to take instead of training: a .safetensors file or a run folder.

    Raises:
      InputError: a setting is out of range.
    """

    COMMAND: ClassVar[str] = "bands"

    dataset: parts.DatasetName = "digits"
    network: parts.NetworkSettings = parts.NetworkSettings()
    output: McueOutput = "label"
    points: Annotated[int, parts.N, Within(3, 500)] = 20
    samples: Annotated[int, parts.N, Within(4, 10**6)] = 100
    sizes: Annotated[int, parts.N, Within(3, 10**4)] = 64
    examples: Annotated[int, parts.N, Within(1, 10**6)] = 200
    families: Annotated[tuple[str, ...], parts.NAMES] = ()
    data: parts.DataSettings = parts.DataSettings()
    training: parts.TrainingSettings = parts.TrainingSettings()
    seed: parts.Seed = 0
    load: parts.Load = None
