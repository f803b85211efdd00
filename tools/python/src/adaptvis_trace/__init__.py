"""Reads traces of adaptvis: attention, hidden states and head outputs, by token, layer and head."""

from .names import TRANSFORMER_LENS_NAMES, canonical_name
from .trace import Picture, Read, Token, Trace

__all__ = ["TRANSFORMER_LENS_NAMES", "Picture", "Read", "Token", "Trace", "canonical_name"]
__version__ = "0.1.0"
