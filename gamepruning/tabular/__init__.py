"""Tables as data for networks: reading, understanding, preprocessing.

`read_table` reads a delimited text file. `Preprocessing` holds what the training rows
said about each column, turns rows into a network's inputs, and is JSON at rest.
`load_predictor` reads the small network of a run and predicts from raw rows.
"""

import lazy_loader

from gamepruning.spelling import helpful

# The public names stand in `__init__.pyi`; pandas is loaded with the first of them.
_load, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__, __dir__ = helpful(__name__, __all__, _load)
