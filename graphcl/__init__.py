"""Contrastive learning on graphs: views, losses, kernels, encoders and methods."""

__version__ = "0.1.0"
