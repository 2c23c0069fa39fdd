"""Which evaluations were the best, and for how long none has been better."""

HIGHER_IS_BETTER = {"bleu": True, "chrf": True, "loss": False}
COLUMNS = {"bleu": "bleu", "chrf": "chrf", "loss": "valid_loss"}  # in metrics.jsonl


class Ranking:
    """The best evaluations of a run by one metric.

    Args:
        metric: "bleu", "chrf" or "loss".
        keep: How many of the best are remembered.

    Attributes:
        best: [value, step] of the best ones, best first; of equal ones the earlier is better.
        stale: Evaluations since the best one.
    """

    def __init__(self, metric, keep):
        self.metric, self.keep = metric, keep
        self.best, self.stale = [], 0

    def add(self, step, metrics):
        """Take a row of metrics.jsonl in; returns whether it is the best so far."""
        value = metrics[COLUMNS[self.metric]]
        if value != value:  # NaN is no result
            self.stale += 1
            return False
        sign = -1 if HIGHER_IS_BETTER[self.metric] else 1
        self.best = sorted([*self.best, [value, step]], key=lambda entry: (sign * entry[0], entry[1]))
        is_best = self.best[0][1] == step
        self.best = self.best[: self.keep]
        self.stale = 0 if is_best else self.stale + 1
        return is_best

    def steps(self):
        """Updates of the best evaluations."""
        return [step for _, step in self.best]

    def to_dict(self):
        """Plain values for a resume point."""
        return {"best": self.best, "stale": self.stale}

    def restore(self, values):
        """Take over what `to_dict` gave."""
        self.best, self.stale = [list(entry) for entry in values["best"]][: self.keep], values["stale"]
