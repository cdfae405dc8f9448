"""Trunkline keeps every trunk green, on every cloud."""

__version__ = "0.1.0"
