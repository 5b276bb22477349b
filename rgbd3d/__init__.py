"""Vision backbones that learn 3-D priors from RGB-D data."""

__version__ = "0.1.0"
