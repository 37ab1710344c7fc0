from .augment import crop_and_flip as crop_and_flip
from .files import read_images as read_images
from .folders import read_folder as read_folder
from .networks import CifarResNet as CifarResNet, CifarVGG as CifarVGG
from .prepared import read_prepared as read_prepared
