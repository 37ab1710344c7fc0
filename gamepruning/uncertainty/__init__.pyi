from .mcue import Bands as Bands, McueConfig as McueConfig, mcue as mcue
