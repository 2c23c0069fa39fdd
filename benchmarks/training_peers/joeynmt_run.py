"""JoeyNMT's own command on a cell's corpus, for time_to_quality.py: training with evaluations, until it is ended.

python joeynmt_run.py FOLDER RUN EVERY
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

from joeynmt.training import train

from benchmarks.training_peers.corpus import load
from benchmarks.training_peers.joeynmt_trainer import configuration

WARM_UP, PEAK = 2000, 0.005  # as recipes/multi30k/tiny.toml


def main() -> None:
    folder, run, val, every = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    model = load(folder).model
    run.mkdir(parents=True)
    cfg = configuration(model, folder, run)
    cfg["data"]["dev"] = val
    factor = PEAK * (model.model_dim * WARM_UP) ** 0.5
    cfg["training"] |= {
        "scheduling": "noam",
        "learning_rate_factor": factor,
        "learning_rate_warmup": WARM_UP,
        "validation_freq": every,
        "logging_freq": min(every, 50),
        "early_stopping_metric": "bleu",
        "keep_best_ckpts": 1,
    }
    cfg["testing"] = {"beam_size": 1, "batch_size": 64, "eval_metrics": ["bleu"]}
    train(rank=0, world_size=None, cfg=cfg, skip_test=True)


if __name__ == "__main__":
    main()
