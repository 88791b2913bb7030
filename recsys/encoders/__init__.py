"""Sequence encoders: item sequences to hidden states."""

from recsys.encoders.by_length import last_by_length
from recsys.encoders.contract import SequenceEncoder
from recsys.encoders.dropout import Dropout
from recsys.encoders.gru4rec import GRU4RecEncoder
from recsys.encoders.sasrec import SASRecEncoder

__all__ = ["Dropout", "GRU4RecEncoder", "SASRecEncoder", "SequenceEncoder", "last_by_length"]
