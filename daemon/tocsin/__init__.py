"""Tocsin rings your endpoints on time, and raises the alarm when they do not answer."""

__version__ = "0.1.0"
