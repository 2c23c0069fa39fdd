"""Real runs of the training command on five words, to be ended in every way and compared with each other."""

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
TIMES = {"seconds", "tokens_per_second", "evaluation_seconds", "time"}
WORDS = {"one": "uno", "two": "due", "three": "tre", "four": "quattro", "five": "cinque"}


def write_corpus(folder, pairs=300):
    """Two files of word for word translations; their paths."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(list(WORDS), rng.integers(2, 7)) for _ in range(pairs)]
    sides = [folder / "a.en", folder / "a.it"]
    sides[0].write_text("".join(" ".join(row) + "\n" for row in rows))
    sides[1].write_text("".join(" ".join(WORDS[word] for word in row) + "\n" for row in rows))
    return [str(side) for side in sides]


def small(**changes):
    """--set arguments of a run of seconds; `train__seed=7` changes train.seed."""
    fields = {
        "model.model_dim": 16, "model.feed_forward_dim": 24, "model.num_heads": 2, "model.num_encoder_layers": 1,
        "model.num_decoder_layers": 1, "model.vocabulary_size": 600, "model.max_length": 12, "data.max_pieces": 11,
        "data.valid_pairs": 8, "train.cooldown_steps": 0, "train.batch_tokens": 256, "train.max_steps": 11,
        "train.evaluate_every": 4, "train.evaluate_pairs": 3, "train.checkpoint_every": 2,
        "train.warmup_steps": 20, "search.max_length_factor": 1, "train.loggers": "[]",
    }  # fmt: skip
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    return [f"--set={name}={value}" for name, value in fields.items()]


# Of the command's tests: they end it themselves.
OPEN_ENDED = small(train__max_steps=100_000, train__loggers='["tensorboard"]')


def command(files, folder, *more):
    """Arguments of `fit` for a new run."""
    return [*small(), "--train", *files, "--output", str(folder), *more]


FIT = (sys.executable, "-m", "keras_transformer.fit")


def start(arguments, command=FIT, **environment):
    """The command in a process of its own."""
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def left_by(folder):
    """All that a run leaves, without what a clock says: path → arrays, rows or text."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            found[name] = {key: array.tobytes() for key, array in load_file(str(path)).items()}
            with safe_open(path, framework="numpy") as file:
                record = (file.metadata() or {}).get("record")
            found[name]["record"] = _timeless(json.loads(record)) if record else None
        elif path.name == "metrics.jsonl":
            found[name] = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.name == "model.json":
            found[name] = _timeless(json.loads(path.read_text()))
        elif path.is_file() and path.name not in ("curves.png", "summary.md"):
            found[name] = path.read_text()
        else:
            found[name] = "there"
    return found


def differences(one, other):
    """Names whose contents differ between two results of `left_by`."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def preload():
    """Import what a run needs but compute nothing, so that a fork is a fresh process in milliseconds."""
    sys.modules["tensorflow"] = None  # Keras seeds it where it is installed; under torch nothing else uses it
    import matplotlib.figure  # noqa: F401
    import rich.console  # noqa: F401

    import keras_transformer.training.run  # noqa: F401


def in_fork(action, log=os.devnull):
    """Run `action` in a forked process, its stderr going to `log`; its process id."""
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        status = action() or 0
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        traceback.print_exc()
    finally:
        os._exit(status)


def fit_in_fork(arguments, log=os.devnull, sabotage=None):
    """`fit.main` in a forked process, `sabotage()` called there before; its process id."""
    from keras_transformer import fit

    def action():
        if sabotage is not None:
            sabotage()
        return fit.main(arguments)

    return in_fork(action, log)


OPERATIONS = ("write", "fsync", "replace", "rename")


def at_operation(number, strike, names=OPERATIONS):
    """Sabotage: `strike()` before the `number`th call of one of `names` in `os`, from 1."""
    from keras_transformer.training import durable

    def patch():
        calls = itertools.count(1)

        class Os:
            def __getattr__(self, name):
                function = getattr(os, name)
                if name not in names:
                    return function

                def counted(*arguments):
                    if next(calls) == number:
                        strike()
                    return function(*arguments)

                return counted

        durable.os = Os()

    return patch


def in_evaluation(number, strike):
    """Sabotage: `strike()` while the validation text is decoded for the `number`th time, from 1."""
    from keras_transformer.training import monitor

    def patch():
        calls, translate = itertools.count(1), monitor.translate_texts

        def struck(*arguments, **options):
            if next(calls) == number:
                strike()
            return translate(*arguments, **options)

        monitor.translate_texts = struck

    return patch


def die():
    """SIGKILL to the own process."""
    os.kill(os.getpid(), signal.SIGKILL)


def be_asked_to_stop():
    """SIGTERM to the own process."""
    os.kill(os.getpid(), signal.SIGTERM)


def find_the_disk_full():
    """What a write raises then."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def exit_status(child):
    """Wait for a forked process."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_random(files, folder, kills, seed, more):
    """Runs killed at random moments and resumed until done, one after another, each compared with a whole one.

    Returns:
        How many processes were killed, at which updates, and what differed, by run.
    """
    chance = random.Random(seed)
    started = time.monotonic()
    whole = whole_run(files, folder, more)
    whole_seconds = time.monotonic() - started
    killed, moments, wrong = 0, [], {}
    while killed < kills:
        target = folder / f"run{len(wrong)}"
        while not (target / "summary.md").is_file():
            child = fit_in_fork(next_arguments(files, target, more), folder / "log")
            if killed < kills:
                time.sleep(chance.uniform(0.1, 1.0) * whole_seconds)
                os.kill(child, signal.SIGKILL)
            status = exit_status(child)
            assert status in (0, -signal.SIGKILL), (folder / "log").read_text()
            if status:
                killed += 1
                moments.append(step_of(target))
        wrong[target.name] = differences(whole, left_by(target))
    return {"killed": killed, "moments": moments, "wrong": wrong}


def sabotaged(files, folder, sabotages, more):
    """For each (name, sabotage): a run that meets it and is resumed, compared with a whole one.

    Returns:
        By name the exit status under sabotage, the last words of it, and what differed at the end. The first run
        that ended before it was met is the last one.
    """
    whole, results = whole_run(files, folder, more), {}
    for name, sabotage in sabotages:
        target, log = folder / name, folder / f"{name}.log"
        status = exit_status(fit_in_fork(command(files, target, *more), log, sabotage))
        if status == 0:
            break
        words = log.read_text()
        if not (target / "summary.md").is_file():
            assert exit_status(fit_in_fork(next_arguments(files, target, more), log)) == 0, log.read_text()
        results[name] = {
            "status": status,
            "words": words.splitlines()[-1],
            "wrong": differences(whole, left_by(target)),
        }
    return results


def whole_run(files, folder, more):
    """What an uninterrupted run leaves."""
    status = exit_status(fit_in_fork(command(files, folder / "whole", *more), folder / "log"))
    assert status == 0, (folder / "log").read_text()
    return left_by(folder / "whole")


def next_arguments(files, target, more):
    """To go on with `target`, or to start it where nothing was saved yet."""
    if (target / "checkpoints" / "resume.safetensors").is_file():
        return ["--resume", "--output", str(target)]
    return command(files, target, *more)


def step_of(folder):
    """Update of the resume point, -1 without one."""
    path = folder / "checkpoints" / "resume.safetensors"
    if not path.is_file():
        return -1
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["record"])["step"]


def main(work, scene, *more):
    """Play `scene` in `work`; prints its result as JSON. In a process of its own: it forks."""
    preload()
    work = Path(work)
    files = write_corpus(work)
    kind, _, number = scene.partition("=")
    if kind == "random":
        result = kill_at_random(files, work, int(number), 2, more)
    elif kind == "operations":
        first, step = map(int, number.split(","))
        many = ((f"kill{n}", at_operation(n, die)) for n in itertools.count(first, step))
        result = sabotaged(files, work, many, more)
    elif kind == "evaluation":
        scenes = [(f"term{n}", in_evaluation(n, be_asked_to_stop)) for n in (1, 3)]
        scenes += [("kill2", in_evaluation(2, die))]
        result = sabotaged(files, work, scenes, more)
    else:
        many = [(f"full{n}", at_operation(n, find_the_disk_full, ("write",))) for n in (1, 2, 5, 9, 14)]
        result = sabotaged(files, work, many, more)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
