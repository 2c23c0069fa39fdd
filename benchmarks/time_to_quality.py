"""Time to quality on Multi30k en-de: BLEU on val that each had after so many minutes, ours against JoeyNMT.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/time_to_quality.py --minutes 15,30,60

Both start at once and train on one core each (--cores OURS,THEIRS), the same model (recipes/multi30k/tiny.toml with
4,096 tokens an update), optimizer and learning rates, each with its own batches, evaluating all of val greedily
every --every updates; reading the text, compiling and evaluating count. The clock of each is the processor time of
its own processes, so that what else a machine does hurts neither; on one core a quiet one's wall clock shows the
same. What a system has at a mark is what its last
evaluation before it wrote: our checkpoints/last, JoeyNMT's own translations. Both texts are scored alike: sacreBLEU
without tokenisation of the tokenised text. JoeyNMT's environment: see training.py. One JSON line a system
and mark, of those that were reached where it is interrupted.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sacrebleu.metrics import BLEU

from benchmarks.multi30k import decode, open_bundle, texts
from benchmarks.training_peers.cells import CELLS
from benchmarks.training_peers.corpus import SIDES, prepare
from keras_transformer.runtime.scheduler import SearchOptions
from keras_transformer.text.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = "KERAS_TRANSFORMER_DATA"
RECIPE = ROOT / "recipes" / "multi30k" / "tiny.toml"


def start_ours(run: Path, data: Path, options: argparse.Namespace, core: int) -> subprocess.Popen:
    """`fit` on one core."""
    files = [
        str(data / f"{split}.lc.norm.tok.{side}.gz") for split in ("train", "val") for side in ("en", "de")
    ]
    sections = {"train.batch_tokens": 4096, "train.evaluate_every": options.every, "train.average_last": 0}
    sections |= {"train.checkpoint_every": options.every, "train.evaluate_pairs": options.pairs or 1014}
    command = [sys.executable, "-m", "keras_transformer.fit", str(RECIPE), "--output", str(run)]
    command += ["--train", *files[:2], "--valid", *files[2:]]
    for name, value in sections.items():
        command += ["--set", f"{name}={value}"]
    environment = {"KERAS_BACKEND": options.backend, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    return start(command, run.with_suffix(".log"), core, environment)


def start_joeynmt(folder: Path, run: Path, options: argparse.Namespace, core: int) -> subprocess.Popen:
    """JoeyNMT on the other."""
    script = ROOT / "benchmarks" / "training_peers" / "joeynmt_run.py"
    command = [str(options.joeynmt_python), str(script), str(folder), str(run), str(run.parent / "val")]
    command.append(str(options.every))
    return start(command, run.with_suffix(".log"), core, {"OMP_NUM_THREADS": "1"})


def start(command: list[str], log: Path, core: int, environment: dict[str, str]) -> subprocess.Popen:
    with log.open("w") as file:
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, [core]),
        )


def processor_seconds(process: int) -> float:
    """Processor time of a process and all below it, those that have ended too."""
    total, waiting = 0, [process]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            times = (folder / "stat").read_text().rpartition(")")[2].split()[11:15]
            total += sum(map(int, times))  # its own and its ended children's, user and system
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile: its parent counts it
            continue
    return total / os.sysconf("SC_CLK_TCK")


def run_to_marks(
    trainings: list[tuple[subprocess.Popen, Callable[[float], None]]], minutes: list[float]
) -> bool:
    """Let each training run to its last mark and end it there; False where one ended by itself before.

    Args:
        trainings: Processes, each with what is called at its marks.
        minutes: The marks, rising, in minutes of each one's own processor time.
    """
    left = {process: list(minutes) for process, _ in trainings}
    try:
        while any(left.values()):
            time.sleep(0.25)
            for process, keep in trainings:
                marks = left[process]
                if not marks:
                    continue
                seconds = processor_seconds(process.pid)
                if process.poll() is not None:
                    return False
                while marks and seconds >= 60 * marks[0]:
                    keep(marks.pop(0))
                if not marks:
                    process.kill()
        return True
    finally:
        for process, _ in trainings:
            process.kill()
            process.wait()


def keep_ours(run: Path, kept: Path) -> None:
    """What ours has now: its last published checkpoint. One that is replaced while it is copied is copied anew."""
    last = run / "checkpoints" / "last"
    for _ in range(5):
        try:
            if not (last / "model.json").is_file():
                return
            shutil.copytree(last, kept / "checkpoints" / "last")
            shutil.copy(run / "tokenizer.json", kept)
            return
        except OSError:
            shutil.rmtree(kept, ignore_errors=True)
            time.sleep(1.0)


def score_ours(kept: Path, split: tuple[list[str], list[str]]) -> dict:
    if not kept.is_dir():
        return {"updates": 0, "bleu": 0.0}
    sources, references = split
    description = json.loads((kept / "checkpoints" / "last" / "model.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        bundle, _ = open_bundle(kept, "last", Path(scratch))
        hypotheses = decode(bundle, sources, SearchOptions(), 1)
    return {"updates": description["training"]["steps"], "bleu": bleu(hypotheses, references)}


def joeynmt_has(run: Path, pairs: int) -> tuple[int, list[str]]:
    """Updates and translations, as words of ids, of its last whole evaluation."""
    for updates, path in sorted(((int(path.stem), path) for path in run.glob("*.hyps")), reverse=True):
        lines = path.read_text().splitlines()
        if len(lines) == pairs:
            return updates, lines
    return 0, []


def score_joeynmt(found: tuple[int, list[str]], tokenizer: Tokenizer, references: list[str]) -> dict:
    updates, lines = found
    if not updates:
        return {"updates": 0, "bleu": 0.0}
    ids = [[int(word[1:]) for word in line.split() if word[:1] == "t"] for line in lines]
    return {"updates": updates, "bleu": bleu([tokenizer.decode(row).strip() for row in ids], references)}


def bleu(hypotheses: list[str], references: list[str]) -> float:
    score = BLEU(tokenize="none", force=True).corpus_score(hypotheses, [references])
    return round(score.score, 2)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=lambda text: [float(n) for n in text.split(",")], default=[15.0, 30.0, 60.0]
    )
    parser.add_argument("--every", type=int, default=250, help="updates between evaluations, of both")
    parser.add_argument("--pairs", type=int, help="the first of val only: to try it out")
    parser.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")], default=[0, 1])
    parser.add_argument("--backend", default="torch", choices=("torch", "tensorflow", "jax"))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "time-to-quality")
    parser.add_argument("--joeynmt-python", type=Path, default=ROOT / "build" / "joeynmt" / "bin" / "python")
    options = parser.parse_args()
    if VARIABLE not in os.environ:
        parser.error(f"{VARIABLE} must name the folder of the corpora, it is not set")
    if not options.joeynmt_python.is_file():
        parser.error(f"there is no {options.joeynmt_python}: see training.py --help")
    data, work = Path(os.environ[VARIABLE]), options.work
    folder = prepare(next(cell for cell in CELLS if cell.name == "tiny"), data, work / "corpus")
    split, tokenizer = texts("val"), Tokenizer.from_file(folder / "tokenizer.json")
    split = tuple(side[: options.pairs] for side in split)
    shutil.rmtree(work / "runs", ignore_errors=True)
    (work / "runs").mkdir(parents=True)
    for side in SIDES:  # as words of ids, for JoeyNMT
        lines = (folder / f"val.{side}").read_text().splitlines()[: options.pairs]
        (work / "runs" / f"val.{side}").write_text("".join(f"{line}\n" for line in lines))
    ours, theirs = work / "runs" / "ours", work / "runs" / "joeynmt"
    reached: list[float] = []  # by ours
    kept: dict[float, tuple[int, list[str]]] = {}

    def keep_our_mark(minutes: float) -> None:
        keep_ours(ours, work / "runs" / f"ours-{minutes:g}")
        reached.append(minutes)

    def keep_their_mark(minutes: float) -> None:
        kept[minutes] = joeynmt_has(theirs, len(split[1]))

    trainings = [
        (start_ours(ours, data / "multi30k", options, options.cores[0]), keep_our_mark),
        (start_joeynmt(folder, theirs, options, options.cores[1]), keep_their_mark),
    ]
    why = ""
    try:
        if not run_to_marks(trainings, options.minutes):
            why = "one ended early"
    except KeyboardInterrupt:
        why = "interrupted"
    for minutes in reached:
        row = score_ours(work / "runs" / f"ours-{minutes:g}", split)
        print_row(minutes, f"ours ({options.backend})", row)
    for minutes, found in kept.items():
        print_row(minutes, "joeynmt", score_joeynmt(found, tokenizer, split[1]))
    if why:
        print(f"{why}, the logs are in {work / 'runs'}", file=sys.stderr)
    return int(bool(why))


def print_row(minutes: float, system: str, row: dict) -> None:
    print(json.dumps({"processor_minutes": minutes, "system": system, **row}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
