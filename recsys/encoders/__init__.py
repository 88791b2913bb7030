"""Sequence encoders: item sequences to hidden states."""

from recsys.encoders.dropout import Dropout
from recsys.encoders.sasrec import SASRecEncoder

__all__ = ["Dropout", "SASRecEncoder"]
