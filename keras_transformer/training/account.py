"""What a run says of itself: at its start, in its checkpoints, in its summary, and where a batch went wrong."""

import keras
import numpy as np

from keras_transformer.training.monitor import clock
from keras_transformer.training.optimization import precision

USUAL_SHARE = 0.98  # of the training sources: longer ones the model has hardly seen
LEAST_LONGEST = 40  # tokens; a sentence no longer than this is better read whole


class Account:
    """The facts of a run.

    Args:
        config: Config.
        prepared: Prepared.
        batches: Batches of the training pairs.
        model: The compiled `Transformer`.
        devices: How many compute an update.
        seconds: Called for the seconds of training so far.
    """

    def __init__(self, config, prepared, batches, model, devices, seconds):
        self.config, self.prepared, self.batches = config, prepared, batches
        self.model, self.devices, self.seconds = model, devices, seconds
        self.tokens_per_update = batches.target_tokens / len(batches)
        self.longest_source = longest_source(prepared.train.sources.lengths)

    def heading(self):
        """A line before the first update."""
        return (
            f"{self.model.count_params():,} weights, {keras.config.backend()}, {self.model.dtype_policy.name}"
            f"{f', {self.devices} devices' if self.devices > 1 else ''}; "
            f"{len(self.prepared.train.sources):,} pairs, {self.batches.target_tokens:,} target tokens, "
            f"{len(self.batches):,} batches an epoch in {len(self.batches.buckets)} shapes, "
            f"{self.batches.padding_share():.1%} padding"
        )

    def describe(self, step, metrics):
        """The description of a checkpoint after update `step` with these scores."""
        config = self.config
        return {
            "source_language": config.data.source_language,
            "target_language": config.data.target_language,
            "longest_source": self.longest_source,
            "training": {
                "steps": step,
                "seconds": round(self.seconds(), 1),
                "target_tokens": round(step * self.tokens_per_update),
                "precision": precision(config.train),
                "backend": keras.config.backend(),
                "keras": keras.__version__,
                "data": self.prepared.report["source"],
                "pairs": len(self.prepared.train.sources),
                "init_from": config.train.init_from,
                "hub_datasets": self.prepared.report["hub_datasets"],
            },
            "scores": {"valid": metrics},
            "licences": self.prepared.report["licences"],
        }

    def facts(self, step, averaged):
        """Name → text of the summary after update `step`, with the mean of `averaged` checkpoints."""
        data, seconds = self.config.data, self.seconds()
        return {
            "pairs": f"{len(self.prepared.train.sources):,} {data.source_language}–{data.target_language}, "
            f"{self.batches.target_tokens:,} target tokens",
            "model": f"{self.model.count_params():,} weights, {self.model.dtype_policy.name}, "
            f"Keras {keras.__version__} on {keras.config.backend()}"
            + (f", {self.devices} devices" if self.devices > 1 else ""),
            "updates": f"{step:,}, {step / len(self.batches):,.1f} epochs",
            "time": f"{clock(seconds)}, {step * self.tokens_per_update / seconds:,.0f} target tokens/s in all",
            "averaged": f"{averaged} checkpoints" if averaged else "none",
            "seed": self.config.train.seed,
        }

    def where(self, step):
        """Words for the batch of update `step`."""
        epoch, position = divmod(step - 1, len(self.batches))
        batch = next(iter(self.batches.stream(step - 1)))
        ids = [int(token) for token in batch.source_ids[0] if token != self.prepared.model_config.pad_id]
        first = self.prepared.tokenizer.decode(ids[:-1])
        return (
            f"batch {position + 1} of {len(self.batches)} in epoch {epoch + 1}, "
            f"{len(batch.source_ids)} pairs, the first {first!r}"
        )


def longest_source(lengths):
    """Most tokens of a source that a model trained on sources of these `lengths` should read at once."""
    return max(LEAST_LONGEST, int(np.quantile(lengths, USUAL_SHARE)))
