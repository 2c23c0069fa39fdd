"""What each system has at a mark, and how Multi30k's text is found."""

import gzip
import subprocess
import sys
import time

import pytest

from benchmarks import multi30k, time_to_quality
from keras_transformer.errors import UserError
from keras_transformer.text.tokenizer import train_tokenizer


def test_joeynmt_has_its_last_whole_evaluation(tmp_path):
    assert time_to_quality.joeynmt_has(tmp_path, 2) == (0, [])
    (tmp_path / "90.hyps").write_text("t9\nt8\n")
    (tmp_path / "120.hyps").write_text("t7 t6\nt5\n")
    (tmp_path / "150.hyps").write_text("t4\n")  # still being written
    assert time_to_quality.joeynmt_has(tmp_path, 2) == (120, ["t7 t6", "t5"])


def test_joeynmt_s_words_are_scored_as_text():
    text = ["ein mann schläft auf einem sofa .", "zwei hunde laufen über die wiese ."]
    tokenizer = train_tokenizer(text, 600)
    lines = [" ".join(f"t{token}" for token in tokenizer.encode(line)) for line in text]
    assert time_to_quality.score_joeynmt((30, lines), tokenizer, text) == {"updates": 30, "bleu": 100.0}
    worse = time_to_quality.score_joeynmt((30, [lines[1], "<unk>"]), tokenizer, text)
    assert worse["bleu"] < 50
    assert time_to_quality.score_joeynmt((0, []), tokenizer, text) == {"updates": 0, "bleu": 0.0}


def test_what_ours_has_is_copied_with_its_tokenizer(tmp_path):
    run, kept = tmp_path / "run", tmp_path / "kept"
    run.mkdir()
    time_to_quality.keep_ours(run, kept)
    assert not kept.exists()
    assert time_to_quality.score_ours(kept, ([], [])) == {"updates": 0, "bleu": 0.0}
    (run / "checkpoints" / "last").mkdir(parents=True)
    (run / "checkpoints" / "last" / "model.json").write_text("{}")
    (run / "tokenizer.json").write_text("t")
    time_to_quality.keep_ours(run, kept)
    assert (kept / "checkpoints" / "last" / "model.json").read_text() == "{}"
    assert (kept / "tokenizer.json").read_text() == "t"


def working(seconds, sleep=0.0):
    """A process that sleeps, then lets a child of its own work for so much processor time, then sleeps."""
    child = f"import time\nwhile time.process_time() < {seconds}: pass"
    code = f"import subprocess, sys, time; time.sleep({sleep})\n"
    code += f"subprocess.run([sys.executable, '-c', {child!r}]); time.sleep(60)"
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_mark_is_reached_by_a_training_s_own_processor_time():
    """One that waits is not late, and what its children did counts."""
    seen = []
    late, early = working(1.2, sleep=1.0), working(1.2)
    trainings = [
        (late, lambda mark: seen.append(("late", mark, time_to_quality.processor_seconds(late.pid)))),
        (early, lambda mark: seen.append(("early", mark, time_to_quality.processor_seconds(early.pid)))),
    ]
    assert time_to_quality.run_to_marks(trainings, [0.5 / 60, 1.0 / 60])
    assert {name: [mark for n, mark, _ in seen if n == name] for name in ("late", "early")} == {
        "late": [0.5 / 60, 1.0 / 60],
        "early": [0.5 / 60, 1.0 / 60],
    }
    for _, mark, seconds in seen:
        assert 60 * mark <= seconds < 1.8  # all the work there is, and a start of Python
    assert late.poll() is not None
    assert early.poll() is not None


def test_a_training_that_ends_before_its_marks_is_told():
    started = time.monotonic()
    other = working(0.0)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert not time_to_quality.run_to_marks([(other, print), (ended, print)], [5.0])
    assert other.poll() is not None
    assert time.monotonic() - started < 30


def test_the_text_of_a_split_is_read_from_the_folder_that_the_variable_names(tmp_path, monkeypatch):
    monkeypatch.delenv(multi30k.VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"^KERAS_TRANSFORMER_DATA must name the folder that holds multi30k/"):
        multi30k.texts("val")
    (tmp_path / "multi30k").mkdir()
    for side, line in (("en", "a dog .\n"), ("de", "ein hund .\n")):
        path = tmp_path / "multi30k" / f"val.lc.norm.tok.{side}.gz"
        path.write_bytes(gzip.compress(line.encode()))
    monkeypatch.setenv(multi30k.VARIABLE, str(tmp_path))
    assert multi30k.texts("val") == (["a dog ."], ["ein hund ."])
