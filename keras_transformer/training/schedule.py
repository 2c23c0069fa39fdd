"""The paper's learning rate (section 5.3), with an optional fall to zero at the end."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_transformer")
class WarmupInverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """factor · D^-0.5 · min(step^-0.5, step · warmup^-1.5), step from 1.

    Vaswani et al. 2017, section 5.3, eq. 3. Deviation: over the last `cooldown_steps` before `max_steps`
    the rate falls linearly to 0, which gives most of what averaging checkpoints gives.

    Args:
        model_dim: Width D.
        warmup_steps: Updates of linear growth, at least 1.
        factor: Multiplies the paper's rate, above 0.
        max_steps: The last update; needed with `cooldown_steps`.
        cooldown_steps: 0 (the paper) to max_steps.

    Call arguments:
        step: int scalar, the updates made so far.

    Returns:
        float scalar, the rate of the next update.

    Raises:
        ValueError: `cooldown_steps` is above `max_steps`, or a number is out of its range.
    """

    def __init__(self, model_dim, warmup_steps=4000, factor=1.0, max_steps=0, cooldown_steps=0):
        super().__init__()
        if warmup_steps < 1 or factor <= 0:
            raise ValueError(
                "`warmup_steps` must be at least 1 and `factor` above 0, "
                f"got {warmup_steps} and {factor}. The paper uses 4000 and 1."
            )
        if not 0 <= cooldown_steps <= max_steps and cooldown_steps:
            raise ValueError(
                f"`cooldown_steps` must be in 0..max_steps ({max_steps}), got {cooldown_steps}. "
                "Give a larger max_steps."
            )
        self.model_dim = model_dim
        self.warmup_steps = warmup_steps
        self.factor = factor
        self.max_steps = max_steps
        self.cooldown_steps = cooldown_steps

    def __call__(self, step):
        update = ops.cast(step, "float32") + 1.0
        rate = ops.minimum(update**-0.5, update * self.warmup_steps**-1.5)
        rate = self.factor * self.model_dim**-0.5 * rate
        if self.cooldown_steps:
            # The update after the last would be the first with rate 0.
            left = (self.max_steps + 1.0 - update) / self.cooldown_steps
            rate = rate * ops.clip(left, 0.0, 1.0)
        return rate

    def get_config(self):
        return {
            "model_dim": self.model_dim,
            "warmup_steps": self.warmup_steps,
            "factor": self.factor,
            "max_steps": self.max_steps,
            "cooldown_steps": self.cooldown_steps,
        }
