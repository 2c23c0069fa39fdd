"""A bundle as a zip: the same bytes each time, and nothing that is unsafe or unsound comes out of one."""

import json
import os
import random
import shutil
import stat
import struct
import zipfile

import pytest

from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.errors import UserError
from keras_transformer.runtime import archive
from keras_transformer.runtime.archive import pack, unpack
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.names import CARD_FILE, MANIFEST_FILE, TOKENIZER_FILE
from tests.onnx_export import runs


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "bundle"
    config = runs.config()
    runs.write_bundle(folder, config, runs.weights_of(config), ("fp32", "fp16"))
    (folder / CARD_FILE).write_text("# A card\n", "utf-8")
    (folder / "ATTRIBUTION.md").write_text("By many.\n", "utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    """An empty folder to unpack into."""
    one = tmp_path / "new"
    one.mkdir()
    return one


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rezip(bundle_folder, path, change=None, prefix="", **options):
    """Zip the bundle by hand; `change` edits the dictionary of its files."""
    files = contents(bundle_folder)
    if change:
        change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as one:
        for name, data in files.items():
            one.writestr(prefix + name if isinstance(name, str) else name, data)
    return path


# ---- there and back ----------------------------------------------------------------------------


def test_a_packed_bundle_comes_back_byte_for_byte(bundle_folder, folder, tmp_path):
    packed = pack(bundle_folder, tmp_path / "model.zip")
    bundle = unpack(packed, folder)
    assert contents(folder) == contents(bundle_folder)
    assert bundle == Bundle(folder, Bundle.open(bundle_folder).manifest)


def test_the_same_bundle_gives_the_same_bytes(bundle_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle_folder, copy)
    for path in copy.iterdir():
        path.chmod(0o600)
        os.utime(path, (1e9, 1e9))
    (copy / "leftover.tmp").write_text("no part of a bundle")
    first = pack(bundle_folder, tmp_path / "one.zip").read_bytes()
    assert first == pack(copy, tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as one:
        assert one.namelist() == sorted(contents(bundle_folder))
        assert one.testzip() is None


def test_packing_checks_the_bundle_and_leaves_no_half_file(bundle_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle_folder, copy)
    (copy / TOKENIZER_FILE).write_text("{}")
    with pytest.raises(UserError, match="must be the file its manifest names"):
        pack(copy, tmp_path / "model.zip")
    nowhere = tmp_path / "nowhere" / "model.zip"
    with pytest.raises(UserError) as caught:
        pack(bundle_folder, nowhere)
    assert str(caught.value) == (
        f"The zip must be writable at {nowhere}, it is not: No such file or directory. Choose another place."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_bundle_too_large_for_a_plain_zip_is_refused(bundle_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10_000)  # it is 2 GiB
    with pytest.raises(UserError) as caught:
        pack(bundle_folder, tmp_path / "model.zip")
    assert str(caught.value) == (
        f"A packed model must stay under 2 GiB, {bundle_folder} does not. Share the folder."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", ["", "my-model/"])
def test_a_bundle_zipped_by_hand_is_taken(bundle_folder, folder, tmp_path, prefix):
    def like_a_mac(files):
        files[zipfile.ZipInfo("__MACOSX/._manifest.json")] = b"resource fork"
        files[zipfile.ZipInfo(f"{prefix}.DS_Store")] = b"folder view"
        if prefix:
            files[zipfile.ZipInfo(prefix)] = b""

    unpack(rezip(bundle_folder, tmp_path / "model.zip", like_a_mac, prefix), folder)
    assert contents(folder) == contents(bundle_folder)


def test_progress_ends_at_the_whole(bundle_folder, folder, tmp_path):
    seen = []
    total = sum(map(len, contents(bundle_folder).values()))
    unpack(pack(bundle_folder, tmp_path / "model.zip"), folder, on_progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_cancelled_unpacking_ends(bundle_folder, folder, tmp_path):
    cancellation = Cancellation()
    with pytest.raises(Cancelled):
        unpack(
            pack(bundle_folder, tmp_path / "model.zip"),
            folder,
            on_progress=lambda done, total: cancellation.cancel(),
            cancellation=cancellation,
        )
    assert len(contents(folder)) < len(contents(bundle_folder))


# ---- what is refused ---------------------------------------------------------------------------


def refused(path, folder):
    with pytest.raises(UserError) as caught:
        unpack(path, folder)
    assert str(folder) not in str(caught.value)  # the reader has never heard of it
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../manifest.json", "../../evil.py", "/etc/passwd", "a/../../evil", "a/b/manifest.json", "..", "C:evil",
        "C:\\evil", "..\\evil", "\\\\host\\share", "evil.py", "manifest.json\x00.txt", "model.pt", "./README.md",
        "~/README.md", "README.md ", "con", "encoder.int8.onnx.data", "READ\u202eME.md", ".hidden/README.md",
    ],
)  # fmt: skip
def test_a_name_that_no_bundle_has_is_refused(bundle_folder, folder, tmp_path, name):
    def add(files):
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name
        files[info] = b"evil"

    message = refused(rezip(bundle_folder, tmp_path / "model.zip", add), folder)
    assert message.startswith("model.zip must hold a bundle's files only, alone or in one folder, got ")
    assert message.endswith("Do not use this file.")
    assert contents(folder) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"new", "model.zip"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_devices_are_refused(bundle_folder, folder, tmp_path, kind):
    def add(files):
        info = zipfile.ZipInfo("NOTICE")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        files[info] = b"/etc/passwd"

    message = refused(rezip(bundle_folder, tmp_path / "model.zip", add), folder)
    assert message == (
        "model.zip must hold plain files, got a link or device as 'NOTICE'. Do not use this file."
    )
    assert contents(folder) == {}


def test_a_bomb_is_refused_before_it_is_unpacked(bundle_folder, folder, tmp_path):
    def add(files):
        files["NOTICE"] = bytes(50 * 2**20)

    message = refused(rezip(bundle_folder, tmp_path / "model.zip", add), folder)
    assert message.startswith("model.zip must not shrink a file to less than one part in 100, got 52,428,800")
    assert contents(folder) == {}


def patched(path, offset, fields, values):
    """Overwrite numbers in the central directory's first entry."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"PK\x01\x02")
    struct.pack_into(fields, data, begin + offset, *values)
    path.write_bytes(data)
    return path


def test_a_name_that_is_not_what_its_flag_says_is_refused(bundle_folder, folder, tmp_path):
    path = pack(bundle_folder, tmp_path / "model.zip")
    data = bytearray(path.read_bytes())
    begin = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, begin + 8, 0x800)  # the name is UTF-8
    data[begin + 46] = 0xFF  # its first byte
    path.write_bytes(data)
    message = refused(path, folder)
    assert message.startswith("model.zip must be a whole zip file, it is not: 'utf-8' codec can't decode")


def test_claims_beyond_the_format_are_refused(bundle_folder, folder, tmp_path):
    # compressed and plain size of the first entry, both lies
    path = patched(pack(bundle_folder, tmp_path / "model.zip"), 20, "<2L", (2**31, 2**32 - 2))
    message = refused(path, folder)
    assert message.startswith("model.zip must unpack to at most 4,294,967,295 bytes, got 4,29")
    path = patched(pack(bundle_folder, tmp_path / "model.zip"), 20, "<2L", (2**20, 2**21))
    assert refused(path, folder) == (
        "model.zip must hold as many bytes as its files take, got files that share their bytes. "
        "Do not use this file."
    )
    assert contents(folder) == {}


def test_a_file_longer_than_it_claims_is_refused(bundle_folder, folder, tmp_path):
    path = patched(pack(bundle_folder, tmp_path / "model.zip"), 24, "<L", (3,))
    message = refused(path, folder)
    assert message.startswith("model.zip must be a whole zip file, it is not: Bad CRC-32")
    assert all(len(data) <= 3 for data in contents(folder).values())


def test_too_many_files_are_refused_before_their_names_are_read(bundle_folder, folder, tmp_path, monkeypatch):
    def add(files):
        files.update({f"{number}.txt": b"" for number in range(archive.MAX_FILES)})

    path = rezip(bundle_folder, tmp_path / "model.zip", add)
    monkeypatch.setattr(archive.zipfile, "ZipFile", None)
    assert refused(path, folder) == (
        "model.zip must hold at most 64 files and 4,294,967,295 bytes, it claims more. Do not use this file."
    )


@pytest.mark.parametrize("how", ["long directory", "64-bit"])
def test_a_directory_beyond_the_limits_is_refused(bundle_folder, folder, tmp_path, how):
    path = pack(bundle_folder, tmp_path / "model.zip")
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    if how == "64-bit":
        data[end:end] = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    else:
        struct.pack_into("<L", data, end + 12, 2**24)
    path.write_bytes(data)
    assert "it claims more" in refused(path, folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_is_refused(bundle_folder, folder, tmp_path):
    def add(files):
        files[zipfile.ZipInfo("README.md")] = b"another card"

    message = refused(rezip(bundle_folder, tmp_path / "model.zip", add), folder)
    assert message == "model.zip must hold each file once, got README.md twice. Do not use this file."


def test_two_models_in_one_zip_are_refused(bundle_folder, folder, tmp_path):
    def add(files):
        files[zipfile.ZipInfo("other/manifest.json")] = b"{}"

    path = rezip(bundle_folder, tmp_path / "model.zip", add, "one/")
    assert "must hold each file once, got manifest.json twice" in refused(path, folder)

    def move(files):
        del files[CARD_FILE]
        files[zipfile.ZipInfo("other/README.md")] = b"a card"

    path = rezip(bundle_folder, tmp_path / "model.zip", move, "one/")
    assert "must hold one model with its manifest.json, got" in refused(path, folder)


def test_a_password_and_other_methods_are_refused(bundle_folder, folder, tmp_path):
    path = patched(pack(bundle_folder, tmp_path / "model.zip"), 8, "<H", (1,))
    message = refused(path, folder)
    assert message.startswith("model.zip must not be encrypted, got 'ATTRIBUTION.md' with a password.")

    def add(files):
        info = zipfile.ZipInfo("NOTICE")
        info.compress_type = zipfile.ZIP_LZMA
        files[info] = b"text" * 100

    message = refused(rezip(bundle_folder, tmp_path / "model.zip", add), folder)
    assert message.startswith("model.zip must be stored or deflated, got method 14 for 'NOTICE'.")


@pytest.mark.parametrize(
    ("missing", "beginning"),
    [
        (MANIFEST_FILE, "model.zip must hold one model with its manifest.json, got "),
        (TOKENIZER_FILE, "A bundle must hold tokenizer.json, model.zip/tokenizer.json cannot be read: "),
    ],
)
def test_a_missing_file_is_refused(bundle_folder, folder, tmp_path, missing, beginning):
    path = rezip(bundle_folder, tmp_path / "model.zip", lambda files: files.pop(missing))
    assert refused(path, folder).startswith(beginning)


def test_a_file_that_its_manifest_does_not_vouch_for_is_refused(bundle_folder, folder, tmp_path):
    def change(files):
        files[TOKENIZER_FILE] += b" "

    message = refused(rezip(bundle_folder, tmp_path / "model.zip", change), folder)
    assert message.startswith("model.zip/tokenizer.json must be the file its manifest names (sha256 ")


def test_a_manifest_with_a_path_or_of_another_format_is_refused(bundle_folder, folder, tmp_path):
    def with_manifest(**changes):
        def change(files):
            values = json.loads(files[MANIFEST_FILE])
            files[MANIFEST_FILE] = json.dumps({**values, **changes}).encode()

        return refused(rezip(bundle_folder, tmp_path / "model.zip", change), folder)

    message = with_manifest(format_version=99)
    assert message.startswith("model.zip must be of bundle format ")
    assert "got 99" in message
    shutil.rmtree(folder)
    folder.mkdir()
    record = {"file": "../tokenizer.json", "bytes": 1, "sha256": ""}
    assert "file must be tokenizer.json, got '../tokenizer.json'" in with_manifest(tokenizer=record)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18), b"PK\x05\x06"])
def test_what_is_no_zip_is_refused(folder, tmp_path, content):
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    message = refused(path, folder)
    assert message.startswith("model.zip must ")
    assert contents(folder) == {}


def test_a_zip_that_is_not_there_and_a_full_disk_are_said(bundle_folder, folder, tmp_path, monkeypatch):
    assert refused(tmp_path / "model.zip", folder) == (
        "model.zip must be readable and fit on the disk, it does not: No such file or directory. "
        "Check the file and the free space."
    )
    path = pack(bundle_folder, tmp_path / "model.zip")
    monkeypatch.setattr(
        archive.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 99, 99)
    )
    total = sum(map(len, contents(bundle_folder).values()))
    assert refused(path, folder) == (
        f"model.zip must fit on the disk, it takes {total:,} bytes and 99 are free. "
        "Make room and install it again."
    )


def test_damage_anywhere_never_gives_another_bundle(bundle_folder, tmp_path):
    whole = pack(bundle_folder, tmp_path / "whole.zip").read_bytes()
    chooser = random.Random(7)
    path, refusals = tmp_path / "model.zip", 0
    for number in range(150):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[chooser.randrange(len(data)) :]
        else:
            # A third of them in the directory, where there is most to get wrong.
            begin = data.index(b"PK\x01\x02") if number % 3 == 1 else 0
            for _ in range(chooser.choice([1, 4])):
                data[chooser.randrange(begin, len(data))] = chooser.randrange(256)
        path.write_bytes(data)
        folder = tmp_path / f"new{number}"
        folder.mkdir()
        try:
            unpack(path, folder)
        except UserError:
            refusals += 1
        else:
            loaded = {record.file for record in Bundle.open(bundle_folder).records()}
            assert all((folder / name).read_bytes() == (bundle_folder / name).read_bytes() for name in loaded)
    assert refusals > 75
