from .checkpoint import Checkpoint as Checkpoint, load as load
from .fit import fit as fit
from .numbering import drop_layers as drop_layers
from .players import find_players as find_players, kinds_of as kinds_of
from .rotate import Rotated as Rotated, rotate as rotate
from .save import save as save
