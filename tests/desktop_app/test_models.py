"""The models on this computer: listed, installed whole or not at all, removed, picked by languages."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from desktop_app import models as models_module
from desktop_app.models import AlreadyInstalledError, Models, models_path, read_card
from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.errors import UserError
from keras_transformer.runtime.archive import pack
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.names import CARD_FILE, MANIFEST_FILE, TOKENIZER_FILE
from tests.onnx_export import runs

REPOSITORY = Path(__file__).resolve().parents[2]
CARD = "---\nlanguage:\n- en\nlicense: cc-by-4.0\n---\n\n# A model\n\nIts story.\n"


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bundle"
    config = runs.config()
    runs.write_bundle(folder, config, runs.weights_of(config))
    (folder / CARD_FILE).write_text(CARD, "utf-8")
    return folder


@pytest.fixture
def make(bundle_folder, tmp_path):
    """A function that makes a bundle folder which differs in its manifest."""

    def make_one(folder, card=CARD, **changes):
        shutil.copytree(bundle_folder, folder)
        values = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
        (folder / MANIFEST_FILE).write_text(json.dumps({**values, **changes}), "utf-8")
        (folder / CARD_FILE).write_text(card, "utf-8")
        return folder

    return make_one


@pytest.fixture
def make_zip(make, tmp_path):
    """A function that packs such a bundle."""

    def make_one(zip_name="model.zip", **changes):
        folder = make(tmp_path / f"source of {zip_name}", **changes)
        return pack(folder, tmp_path / zip_name)

    return make_one


@pytest.fixture
def models(make, tmp_path):
    """One shipped model, and room for others."""
    make(tmp_path / "shipped" / "en-it", name="shipped")
    return Models(tmp_path / "data" / "models", tmp_path / "shipped")


def tree(folder):
    """Every file and folder below `folder`, with the files' bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# ---- list --------------------------------------------------------------------------------------


def test_the_list_says_what_a_model_is(models, make_zip, bundle_folder):
    scores = {"valid": {"bleu": 25.6, "chrf": 52.15}}
    installed = models.install(make_zip(name="Mine", scores=scores))
    listed = models.list()
    assert [(model.name, model.is_shipped) for model in listed] == [("Mine", False), ("shipped", True)]
    assert listed[0] == installed
    assert (installed.source_language, installed.target_language) == ("en", "it")
    assert installed.num_bytes == sum(path.stat().st_size for path in installed.folder.iterdir())
    assert installed.precisions == ("fp32",)
    assert installed.scores == scores
    assert installed.licence == "cc-by-4.0"
    assert installed.problem == ""
    assert Bundle.open(installed.folder).manifest.name == "Mine"


def test_a_card_is_read_without_its_front_matter(models, make_zip):
    one = models.install(make_zip())
    assert read_card(one.folder) == "# A model\n\nIts story.\n"
    (one.folder / CARD_FILE).write_text("No front\n---\nmatter.\n", "utf-8")
    assert read_card(one.folder) == "No front\n---\nmatter.\n"
    (one.folder / CARD_FILE).unlink()
    assert read_card(one.folder) == ""


def test_without_a_card_the_manifest_says_the_licence(models, make_zip):
    one = models.install(make_zip(licences=["CC BY 4.0", "others"], card="# No front matter\n"))
    assert one.licence == "CC BY 4.0"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format_version": 99}', "\ud800"])
def test_a_model_that_cannot_be_used_is_listed_with_the_reason(models, make_zip, content):
    one = models.install(make_zip(name="Mine"))
    (one.folder / MANIFEST_FILE).write_bytes(content.encode("utf-8", "surrogatepass"))
    (listed, _) = models.list()
    assert listed.name == one.folder.name
    assert str(one.folder) in listed.problem
    assert models.pick("en", "it").is_shipped
    models.remove(one.folder)
    assert [model.name for model in models.list()] == ["shipped"]


def test_other_folders_and_files_are_no_models(models, make_zip):
    models.install(make_zip())
    (models.folder / "notes").mkdir()
    (models.folder / "notes.txt").write_text("mine")
    assert len(models.list()) == 2


def test_a_folder_that_cannot_be_read_spoils_no_list(models, make_zip, monkeypatch):
    closed = models.install(make_zip("a.zip", name="Closed")).folder
    hidden = models.install(make_zip("b.zip", name="Hidden")).folder
    stat, iterdir = os.stat, Path.iterdir

    def refuse_stat(path, *arguments, **options):
        if str(path).startswith(str(closed) + os.sep):
            raise PermissionError(errno.EACCES, "no", str(path))
        return stat(path, *arguments, **options)

    def refuse_iterdir(path):
        if path == hidden:
            raise PermissionError(errno.EACCES, "no", str(path))
        return iterdir(path)

    monkeypatch.setattr(os, "stat", refuse_stat)
    monkeypatch.setattr(Path, "iterdir", refuse_iterdir)
    listed = [(model.name, model.num_bytes > 0, model.problem) for model in models.list()]
    assert listed == [("Hidden", False, ""), ("shipped", True, "")]


def test_the_shipped_model_of_the_package_is_listed(tmp_path):
    shipped = [model for model in Models(None).list() if model.is_shipped]
    assert {model.folder.parent.name for model in shipped} <= {"pretrained"}
    assert len(shipped) == sum(
        (one / MANIFEST_FILE).is_file() for one in models_module.SHIPPED_FOLDER.iterdir()
    )


# ---- pick --------------------------------------------------------------------------------------


def test_a_model_is_picked_by_its_languages(models, make_zip):
    assert models.pick("en", "it").name == "shipped"
    assert models.pick("it", "en") is None
    back = models.install(make_zip("back.zip", name="back", source_language="it", target_language="en"))
    other = models.install(make_zip("other.zip", name="other"))
    assert models.pick("it", "en") == back
    assert models.pick("en", "it") == other  # an installed one before the shipped one
    assert models.pick("en", "de") is None


# ---- install -----------------------------------------------------------------------------------


def test_installing_again_asks_first_and_replaces_whole(models, make_zip):
    first = models.install(make_zip("one.zip", name="Mine", licences=["one"], card=""))
    (first.folder / "stray").write_text("left by someone")
    before = tree(models.folder)
    newer = make_zip("two.zip", name="Mine", licences=["two"], card="")
    with pytest.raises(AlreadyInstalledError) as caught:
        models.install(newer)
    assert str(caught.value) == "Mine is installed already. Replace it, or keep the one you have."
    assert caught.value.model.folder == first.folder
    assert tree(models.folder) == before
    assert models.install(newer, replace=True).licence == "two"
    assert "stray" not in {path.name for path in first.folder.iterdir()}
    assert len(models.list()) == 2


def test_models_of_one_name_and_other_languages_live_side_by_side(models, make_zip):
    models.install(make_zip("a.zip", name="Mine"))
    models.install(make_zip("b.zip", name="Mine", source_language="it", target_language="en"))
    assert len(models.list()) == 3


@pytest.mark.parametrize("name", ["../../evil", "CON", "a/b\\c", "..", "", "è ü", ".hidden", "x" * 300, "-"])
def test_no_name_leads_out_of_the_folder(models, make_zip, name):
    one = models.install(make_zip(name=name, card=""))
    assert one.folder.parent == models.folder
    assert one.folder.name.startswith("en-it.")
    assert len(one.folder.name) < 80
    assert one.name == name


def break_zip(path, how):
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "bit":
        path.write_bytes(data[:3000] + bytes([data[3000] ^ 1]) + data[3001:])
    elif how == "no zip":
        path.write_bytes(b"hello")
    elif how == "gone":
        path.unlink()
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(how, b"evil")


@pytest.mark.parametrize("how", ["cut", "bit", "no zip", "gone", "../evil", "/evil", "evil.exe"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_refused_zip_leaves_everything_as_it_was(models, make_zip, tmp_path, how, replace):
    models.install(make_zip("good.zip", name="Mine"))
    bad = make_zip("bad.zip", name="Mine", licences=["newer"])
    break_zip(bad, how)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"bad\.zip"):
        models.install(bad, replace=replace)
    assert tree(tmp_path) == before


def test_a_damaged_file_inside_is_refused(models, make, tmp_path):
    folder = make(tmp_path / "source")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for path in folder.iterdir():
            archive.writestr(path.name, path.read_bytes() + b" " * (path.name == TOKENIZER_FILE))
    with pytest.raises(UserError, match=r"bad\.zip/tokenizer\.json must be the file its manifest names"):
        models.install(tmp_path / "bad.zip")
    assert tree(models.folder) == {}


def test_a_cancelled_installation_leaves_nothing(models, make_zip):
    cancellation = Cancellation()
    progress = []

    def stop(done, total):
        progress.append((done, total))
        cancellation.cancel()

    with pytest.raises(Cancelled):
        models.install(make_zip(), on_progress=stop, cancellation=cancellation)
    assert 0 < progress[0][0] <= progress[0][1]
    assert tree(models.folder) == {}


def test_the_older_model_comes_back_when_the_newer_cannot_take_its_place(models, make_zip, monkeypatch):
    models.install(make_zip("one.zip", name="Mine"))
    newer = make_zip("two.zip", name="Mine", licences=["two"])
    before = tree(models.folder)
    real = os.replace

    def replace(source, target):
        if Path(source).name == "bundle":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(models_module.os, "replace", replace)
    with pytest.raises(UserError) as caught:
        models.install(newer, replace=True)
    assert str(caught.value) == (
        f"The folder of the models must be writable, {models.folder} is not: No space left on device. "
        "Check its permissions and the free space."
    )
    assert tree(models.folder) == before


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL of a POSIX system")
def test_a_killed_installation_is_not_listed_and_swept_later(models, make_zip):
    script = (
        "import sys, time; from pathlib import Path; from desktop_app.models import Models\n"
        "def wait(done, total):\n    print('half', flush=True); time.sleep(60)\n"
        "Models(Path(sys.argv[1]), Path(sys.argv[2])).install(Path(sys.argv[3]), on_progress=wait)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(models.folder), str(models._shipped), str(make_zip())],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    (left,) = models.folder.iterdir()
    assert [model.name for model in models.list()] == ["shipped"]
    models.install(make_zip("other.zip", name="Other"))
    assert left.is_dir()  # another window might still be at it
    os.utime(left, (time.time() - 25 * 3600,) * 2)
    models.install(make_zip("third.zip", name="Third"))
    assert not left.exists()
    assert len(models.list()) == 3


def test_without_platformdirs_nothing_can_be_installed(monkeypatch, make_zip, tmp_path):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    models = Models(models_path(), tmp_path / "none")
    assert models.list() == []
    with pytest.raises(UserError, match="Run: python -m pip install platformdirs"):
        models.install(make_zip())


def test_the_folder_lies_in_the_users_data(monkeypatch, tmp_path):
    pytest.importorskip("platformdirs", reason="platformdirs (extra `desktop`) is not installed")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_path().parts[-2:] == ("keras_transformer", "models")


# ---- remove ------------------------------------------------------------------------------------


def test_an_installed_model_is_removed(models, make_zip):
    one = models.install(make_zip("one.zip", name="one"))
    two = models.install(make_zip("two.zip", name="two"))
    models.remove(one.folder)
    assert [path.name for path in models.folder.iterdir()] == [two.folder.name]
    with pytest.raises(UserError, match=r"The folder of the models must be writable, .*: No such file"):
        models.remove(one.folder)


def test_nothing_else_is_removed(models, make_zip, tmp_path):
    one = models.install(make_zip())
    before = tree(tmp_path)
    (shipped,) = [model for model in models.list() if model.is_shipped]
    for folder in (
        shipped.folder,
        models.folder,
        models.folder / "..",
        tmp_path,
        one.folder / "x",
        Path("/"),
    ):
        with pytest.raises(UserError, match=r"Only an installed model can be removed, .* is none"):
            models.remove(folder)
    assert tree(tmp_path) == before
