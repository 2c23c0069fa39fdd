"""Decoding: how to search for an output, and where to stop. NumPy only; it knows no model and no engine."""

from __future__ import annotations

from keras_transformer.decoding.beam import BeamSearch
from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.decoding.greedy import GreedySearch
from keras_transformer.decoding.limits import LoopGuard, length_limits
from keras_transformer.decoding.sampling import SamplingSearch
from keras_transformer.decoding.search import SearchResult, beam_search, greedy_search, sampling_search
from keras_transformer.decoding.steps import DecodeStep, Hypothesis

__all__ = [
    "BeamSearch",
    "Cancellation",
    "Cancelled",
    "DecodeStep",
    "GreedySearch",
    "Hypothesis",
    "LoopGuard",
    "SamplingSearch",
    "SearchResult",
    "beam_search",
    "greedy_search",
    "length_limits",
    "sampling_search",
]
