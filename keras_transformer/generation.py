"""`Transformer.generate`: the searches of `decoding` over a Keras model, chosen by KerasHub's names."""

from collections.abc import Mapping

import numpy as np
from keras import ops

from keras_transformer.decoding.search import beam_search, greedy_search, sampling_search
from keras_transformer.layers import LayerCache

# KerasHub's names and the values its classes have where nothing is said; `length_penalty` is ours.
SAMPLERS = {
    "greedy": {"temperature": 1.0},
    "beam": {"temperature": 1.0, "num_beams": 5, "return_all_beams": False, "length_penalty": 0.0},
    "top_k": {"temperature": 1.0, "k": 5, "seed": None},
    "top_p": {"temperature": 1.0, "p": 0.1, "k": None, "seed": None},
    "random": {"temperature": 1.0, "seed": None},
}
_CLASSES = {
    "GreedySampler": "greedy", "BeamSampler": "beam", "TopKSampler": "top_k", "TopPSampler": "top_p",
    "RandomSampler": "random",
}  # fmt: skip


def generate(model, source_ids, max_length, sampler):
    """What `sampler` finds for source_ids int (B, S): B int arrays of at most `max_length` tokens."""
    name, options = resolve_sampler(sampler)
    count = len(source_ids)
    beams = options["num_beams"] if name == "beam" else 1
    step = KerasStep(model, source_ids, max_length, beams)
    shared = {
        "bos_id": model.config.bos_id,
        "eos_id": model.config.eos_id,
        "pad_id": model.config.pad_id,
        "max_lengths": np.full(count, max_length),
    }
    if name == "greedy":
        return greedy_search(step, **shared).tokens
    if name == "beam":
        return beam_search(step, beam_size=beams, length_penalty=options["length_penalty"], **shared).tokens
    seed = options["seed"]
    return sampling_search(
        step,
        seed=int(np.random.randint(2**31)) if seed is None else seed,  # what keras.utils.set_random_seed sets
        temperature=options["temperature"],
        top_k=options.get("k"),
        top_p=options.get("p"),
        **shared,
    ).tokens


def resolve_sampler(sampler):
    """KerasHub's name and the arguments of a sampler given as a name, as a configuration or as an object.

    Raises:
        ValueError: it is none of `SAMPLERS`, or has arguments that are not its own.
    """
    given = {}
    if isinstance(sampler, Mapping):
        name, given = str(sampler.get("class_name", "")).rsplit(">", 1)[-1], sampler.get("config", {})
    elif isinstance(sampler, str):
        name = sampler
    else:
        name = type(sampler).__name__
        given = sampler.get_config() if hasattr(sampler, "get_config") else {}
    name = _CLASSES.get(name, name)
    if name not in SAMPLERS:
        raise ValueError(
            f"`sampler` must be one of {', '.join(SAMPLERS)}, a configuration or object of it, got {sampler!r}. "
            "Choose one of them."
        )
    unknown = sorted(given.keys() - SAMPLERS[name].keys())
    if unknown:
        raise ValueError(
            f"`sampler` {name!r} must have no argument but {', '.join(SAMPLERS[name])}, got {', '.join(unknown)}. "
            "Leave it out."
        )
    options = {**SAMPLERS[name], **given}
    if options.get("return_all_beams") or (name == "beam" and options["temperature"] != 1.0):
        raise ValueError(
            "`sampler` 'beam' must have return_all_beams False and temperature 1.0, got "
            f"{options['return_all_beams']} and {options['temperature']}. Leave them out."
        )
    return name, options


class KerasStep:
    """The model's `decode_step` in the form that the searches know; NumPy in, NumPy out.

    Args:
        model: Transformer.
        source_ids: int (B, S).
        max_length: Target positions that are needed.
        beams: Rows of each sentence.
    """

    def __init__(self, model, source_ids, max_length, beams=1):
        self.model = model
        source_ids = ops.convert_to_tensor(source_ids, dtype="int32")
        encoder_outputs, mask = model.encode(source_ids), model.padding_mask(source_ids)
        if beams > 1:
            encoder_outputs, mask = (ops.repeat(array, beams, axis=0) for array in (encoder_outputs, mask))
        self.source_padding_mask = mask
        self.caches = self._detached(model.initial_caches(encoder_outputs, max_length))

    def __call__(self, token_ids, position):
        tokens = ops.convert_to_tensor(token_ids[:, None], dtype="int32")
        logits, caches = self.model.decode_step(tokens, position, self.caches, self.source_padding_mask)
        self.caches = self._detached(caches)
        return ops.convert_to_numpy(ops.cast(logits, "float32"))

    def copy_rows(self, sources, destinations, starts):
        """Give rows the state of others of their sentence, which has the same source."""
        rows = np.arange(len(self.source_padding_mask))
        rows[destinations] = sources
        rows = ops.convert_to_tensor(rows, dtype="int32")
        self.caches = tuple(
            cache._replace(
                self_keys=ops.take(cache.self_keys, rows, axis=0),
                self_values=ops.take(cache.self_values, rows, axis=0),
            )
            for cache in self.caches
        )

    @staticmethod
    def _detached(caches):
        # Under torch the steps would otherwise hang on one another in an autograd graph that only grows.
        return tuple(LayerCache(*(ops.stop_gradient(array) for array in cache)) for cache in caches)
