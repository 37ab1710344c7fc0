from .columns import Column as Column
from .options import TableOptions as TableOptions
from .predictor import (
    Predictor as Predictor,
    load_predictor as load_predictor,
)
from .preprocessing import Preprocessing as Preprocessing
from .read import read_table as read_table
from .target import Target as Target
from .understand import understand as understand
