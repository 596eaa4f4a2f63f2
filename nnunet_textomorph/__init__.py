"""Text-driven tumor synthesis for CT, as an nnU-Net v2 plug-in."""

__version__ = "0.1.0"
