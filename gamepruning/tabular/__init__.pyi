from .columns import Column as Column
from .options import TableOptions as TableOptions
from .preprocessing import (
    Preprocessing as Preprocessing,
    Target as Target,
)
from .read import read_table as read_table
