"""Vision backbones that learn 3-D priors from RGB-D data: methods, recipes, data and a model zoo."""

import lazy_loader

from rgbd3d import _autoregister

__version__ = "0.1.0"

# Names are imported on first use (see __init__.pyi): `import rgbd3d` and `rgbd3d list` never import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_autoregister.install()
