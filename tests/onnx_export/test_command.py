"""Every end of the exporter's commands is one line and an exit code, and no half bundle."""

import os
import shutil
import signal

import pytest

from keras_transformer.errors import UserError
from keras_transformer.onnx_export.command import run_command
from keras_transformer.onnx_export.publish import new_bundle
from keras_transformer.onnx_export.verify import GateFailure


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_bundle(tmp_path, capsys, number, code):
    earlier = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    def run():
        with new_bundle(tmp_path / "out"):
            os.kill(os.getpid(), number)
        return "done"

    assert run_command(run, "no bundle was written") == code
    how = "terminated" if number == signal.SIGTERM else "interrupted"
    assert capsys.readouterr() == ("", f"{how}: no bundle was written.\n")
    assert list(tmp_path.iterdir()) == []
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == earlier


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("RUN must be there."), 2, "error: RUN must be there."),
        (GateFailure("fp32: too far"), 1, "failed: fp32: too far. No bundle was written."),
        (
            OSError(28, "No space left on device", "/a"),
            2,
            "error: reading or writing failed at /a: no space left on device.",
        ),
        (
            shutil.Error([("a", "b", "No space")]),
            2,
            "error: reading or writing failed: [('a', 'b', 'no space')].",
        ),
    ],
)
def test_an_error_is_a_line(capsys, error, code, line):
    def run():
        raise error

    assert run_command(run, "nothing is left") == code
    assert capsys.readouterr() == ("", f"{line}\n")


def test_what_is_done_is_a_line_on_stdout(capsys):
    assert run_command(lambda: "a bundle", "nothing is left") == 0
    assert capsys.readouterr() == ("a bundle\n", "")
