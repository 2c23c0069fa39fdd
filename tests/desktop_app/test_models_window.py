"""The models' dialog: what is there, its card, and installing, removing and taking one by keys."""

import threading

import pytest

from desktop_app.background import Background
from desktop_app.messages import Messages
from desktop_app.models import Models
from keras_transformer.errors import UserError
from keras_transformer.runtime.names import MANIFEST_FILE
from tests.desktop_app.conftest import pump, pump_for
from tests.desktop_app.test_models import bundle_folder, make, make_zip, models  # noqa: F401 - fixtures


@pytest.fixture
def open_dialog(root, models):  # noqa: F811 - the fixture
    """A function that opens the dialog over a focused root; it notes which model is taken."""
    from desktop_app.models_window import ModelsWindow
    from desktop_app.theme import Theme

    background = Background("models-test")

    def open_one(language="en", current=None, one=models):
        root.geometry("900x500+50+50")
        root.deiconify()
        picked, changes = [], []
        dialog = ModelsWindow(
            root, Theme(root, dark=False), Messages(language), one, background,
            current=lambda: current, pick=picked.append, changed=lambda: changes.append(len(one.list())),
        )  # fmt: skip
        dialog.picked, dialog.changes = picked, changes

        def beat():
            background.poll()
            root.after(10, beat)

        beat()
        pump(root, lambda: dialog.winfo_viewable() and dialog.status_text())
        pump(root, lambda: not background.busy)
        dialog.list.focus_force()
        root.update()
        return dialog

    yield open_one
    assert background.close(5.0)


def card_text(dialog):
    return dialog.card.text.get("1.0", "end-1c")


def rows(dialog):
    return [dialog.list.item(row, "values") for row in dialog.list.get_children()]


def enabled(button):
    return button.instate(["!disabled"])


def choose_zip(monkeypatch, path):
    monkeypatch.setattr("tkinter.filedialog.askopenfilename", lambda **options: str(path))


def answer(monkeypatch, value):
    asked = []
    monkeypatch.setattr(
        "tkinter.messagebox.askyesno", lambda *args, **options: asked.append(args[1]) or value
    )
    return asked


def test_the_list_and_the_card(root, open_dialog, models, make_zip):  # noqa: F811
    scores = {"valid": {"step": 7, "bleu": 25.6, "chrf": 52.15}}
    mine = models.install(make_zip(name="Mine", scores=scores))
    dialog = open_dialog(current=mine.folder)
    size = f"{mine.num_bytes / 1e6:.1f} MB"
    assert rows(dialog) == [
        ("✓ Mine", "English → Italian", size, "valid: BLEU 25.6 · chrF 52.1", "cc-by-4.0"),
        ("shipped", "English → Italian", size, "", "cc-by-4.0"),
    ]
    assert card_text(dialog) == "A model\nIts story.\n"
    assert dialog.status_text() == "Models: 2"
    assert dialog.facts_text() == "in use · fp32"
    assert not enabled(dialog._use)
    assert not enabled(dialog._remove)
    dialog.list.event_generate("<Down>")
    pump(root, lambda: dialog.facts_text() == "fp32 · came with the program")
    assert enabled(dialog._use)
    assert not enabled(dialog._remove)


def test_enter_takes_a_model_and_closes(root, open_dialog, models, make_zip):  # noqa: F811
    mine = models.install(make_zip(name="Mine"))
    dialog = open_dialog()
    dialog.list.event_generate("<Return>")
    pump(root, lambda: dialog.picked)
    assert dialog.picked == [mine.folder]
    assert not dialog.winfo_exists()


def test_installing_from_a_zip(root, open_dialog, models, make_zip, monkeypatch):  # noqa: F811
    choose_zip(monkeypatch, make_zip(name="Mine"))
    dialog = open_dialog()
    dialog.list.event_generate("<Insert>")
    pump(root, lambda: dialog.status_text() == "Mine is installed.")
    pump(root, lambda: len(rows(dialog)) == 2)
    (row,) = dialog.list.selection()
    assert dialog.list.set(row, "name") == "Mine"
    assert dialog._install.cget("text") == "Install from a zip…"
    assert dialog.changes == [2]  # heard once, when it was there


def test_a_refused_zip_is_one_sentence(root, open_dialog, models, make_zip, monkeypatch, tmp_path):  # noqa: F811
    path = tmp_path / "bad.zip"
    path.write_bytes(b"no zip")
    choose_zip(monkeypatch, path)
    dialog = open_dialog()
    dialog._install.invoke()
    pump(root, lambda: dialog.status_text().startswith("bad.zip must be a whole zip file"))
    assert str(dialog._status.cget("style")) == "Error.TLabel"
    assert len(rows(dialog)) == 1
    assert enabled(dialog._install)
    choose_zip(monkeypatch, "")  # the file dialog was closed
    dialog._install.invoke()
    pump_for(root, 0.1)
    assert dialog.status_text().startswith("bad.zip must be")


@pytest.mark.parametrize(("yes", "licence"), [(False, "one"), (True, "two")])
def test_a_model_that_is_there_is_replaced_after_a_question(
    root, open_dialog, models, make_zip, monkeypatch, yes, licence  # noqa: F811
):  # fmt: skip
    models.install(make_zip("one.zip", name="Mine", licences=["one"], card=""))
    choose_zip(monkeypatch, make_zip("two.zip", name="Mine", licences=["two"], card=""))
    asked = answer(monkeypatch, yes)
    dialog = open_dialog()
    assert card_text(dialog) == "This model brings no description."
    dialog._install.invoke()
    pump(root, lambda: asked and dialog._installing is None)
    pump(root, lambda: dialog.status_text() == ("Mine is installed." if yes else "Not installed."))
    assert asked == ["Mine is installed already. Replace it?"]
    assert models.list()[0].licence == licence


def test_a_zip_over_the_model_in_use_is_loaded(root, open_dialog, models, make_zip, monkeypatch):  # noqa: F811
    mine = models.install(make_zip("one.zip", name="Mine"))
    choose_zip(monkeypatch, make_zip("two.zip", name="Mine"))
    answer(monkeypatch, True)
    dialog = open_dialog(current=mine.folder)
    dialog._install.invoke()
    pump(root, lambda: dialog.picked)
    assert dialog.picked == [mine.folder]


@pytest.mark.parametrize("how", ["button", "close"])
def test_installing_is_cancelled(root, open_dialog, models, make_zip, monkeypatch, how):  # noqa: F811
    begun, release = threading.Event(), threading.Event()
    real = models.install

    def slow(path, *, on_progress, **options):
        def progress(done, total):
            on_progress(done, total)
            begun.set()
            release.wait(5.0)

        return real(path, on_progress=progress, **options)

    monkeypatch.setattr(models, "install", slow)
    choose_zip(monkeypatch, make_zip("big.zip", name="Mine"))
    dialog = open_dialog()
    dialog._install.invoke()
    pump(root, begun.is_set)
    pump(root, lambda: dialog.status_text().startswith("Checking and copying big.zip: "))
    assert dialog._install.cget("text") == "Cancel"
    if how == "button":
        dialog._install.invoke()
        release.set()
        pump(root, lambda: dialog.status_text() == "Not installed.")
    else:
        dialog.event_generate("<Escape>")
        pump(root, lambda: not dialog.winfo_exists())
        release.set()
        pump(root, lambda: not any(models.folder.iterdir()))
    assert [model.name for model in models.list()] == ["shipped"]
    assert list(models.folder.iterdir()) == []


@pytest.mark.parametrize(("yes", "left"), [(False, 2), (True, 1)])
def test_removing_after_a_question(root, open_dialog, models, make_zip, monkeypatch, yes, left):  # noqa: F811
    models.install(make_zip(name="Mine"))
    asked = answer(monkeypatch, yes)
    dialog = open_dialog(current=models.list()[1].folder)
    dialog.list.event_generate("<Up>")
    root.update()
    dialog.list.event_generate("<Delete>")
    pump_for(root, 0.1)
    pump(root, lambda: len(rows(dialog)) == left)
    assert asked == ["Remove Mine? Its files are deleted from this computer."]
    assert len(models.list()) == left
    dialog.list.event_generate("<Delete>")  # the shipped model is chosen now, or Mine again
    pump_for(root, 0.1)
    assert any(model.is_shipped for model in models.list())


def test_a_damaged_model_can_be_removed_only(root, open_dialog, models, make_zip):  # noqa: F811
    mine = models.install(make_zip(name="Mine"))
    (mine.folder / MANIFEST_FILE).write_text("{}")
    dialog = open_dialog()
    assert rows(dialog)[0][0] == mine.folder.name
    assert str(mine.folder) in card_text(dialog)
    assert not enabled(dialog._use)
    assert enabled(dialog._remove)
    dialog.list.event_generate("<Return>")
    pump_for(root, 0.05)
    assert dialog.picked == []


def test_a_failure_to_list_is_said(root, open_dialog, monkeypatch, tmp_path):
    one = Models(tmp_path / "models", tmp_path / "none")
    dialog = open_dialog(one=one)
    assert dialog.status_text() == "No model is installed."

    def fail():
        raise UserError("The disk is gone.")

    monkeypatch.setattr(one, "list", fail)
    dialog.refresh()
    pump(root, lambda: dialog.status_text() == "The disk is gone.")


def test_the_card_is_scrolled_and_left_by_keys(root, open_dialog, models, make_zip):  # noqa: F811
    models.install(make_zip(card="# Long\n\n" + "A line of text.\n\n" * 200))
    dialog = open_dialog()
    dialog.card.text.focus_force()
    root.update()
    dialog.card.text.event_generate("<Next>")
    root.update()
    assert dialog.card.text.yview()[0] > 0.0
    dialog.card.text.event_generate("<Tab>")
    root.update()
    assert root.focus_get() is not dialog.card.text


def test_it_speaks_italian(root, open_dialog):
    dialog = open_dialog("it")
    assert dialog.title() == "Modelli"
    assert rows(dialog)[0][1] == "inglese → italiano"
    assert dialog.status_text() == "Modelli: 1"
    assert dialog.facts_text() == "fp32 · incluso nel programma"
