"""Decoding: how to search for an output, and where to stop. NumPy only; it knows no model and no engine."""

from __future__ import annotations

from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.search import Cancelled, DecodeStep, SearchResult, greedy_search

__all__ = ["Cancelled", "DecodeStep", "LoopGuard", "SearchResult", "greedy_search", "length_limits"]
