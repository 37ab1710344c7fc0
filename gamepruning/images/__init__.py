"""Images as data for networks: reading, random crops, networks with published weights.

`read_folder` reads a folder of images by class, `read_prepared` a set that
tensorflow-datasets prepared. `crop_and_flip` augments a batch inside a compiled step.
`CifarResNet` and `CifarVGG` have the layers of the networks that papers prune.
"""

import lazy_loader

from gamepruning.spelling import helpful

# The public names stand in `__init__.pyi`; flax and PIL are loaded with the first use.
_load, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__, __dir__ = helpful(__name__, __all__, _load)
