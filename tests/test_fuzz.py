"""A short run of the fuzzer (tests/fuzz/run.py), and what longer ones have found."""

import json
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("forks, and bounds memory through /proc", allow_module_level=True)

import moodreel.runtime.bundle
from fuzz.run import SHARES, make_case, read_case, run
from moodreel.errors import BundleError
from moodreel.runtime.schema import DEEPEST, BundleInfo
from runtime.tiny import make_info, write_bundle, zip_bundle


@pytest.mark.parametrize("kind", SHARES)
def test_damaged_files_are_read_or_refused(kind):
    counts, faults = run(kind, range(25 if kind.startswith("bundle") else 60))
    assert faults == []
    assert sum(counts.values()) == (25 if kind.startswith("bundle") else 60)
    assert kind.startswith("bundle") or len(counts) > 1  # neither all fine nor all refused


def test_a_case_is_its_number():
    for kind in SHARES:
        assert make_case(kind, 7) == make_case(kind, 7)
        assert make_case(kind, 7) != make_case(kind, 8)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("assert False, 'no'", "FAULT AssertionError: no"),
        ("print('noise')", "FAULT printed noise"),
        ("import ctypes; ctypes.string_at(0)", "FAULT crash: SIGSEGV"),
        ("x = bytearray(1 << 40)", "FAULT MemoryError"),
    ],
)
def test_the_fuzzer_sees_faults(monkeypatch, place, said):
    """The third case of five does what none may."""
    real = read_case

    def bad(kind, data, folder):
        if data == make_case("gif", 2):
            exec(place)
        return real(kind, data, folder)

    monkeypatch.setattr("fuzz.run.read_case", bad)
    counts, faults = run("gif", range(5))
    assert [number for number, _ in faults] == [2]
    assert faults[0][1].startswith(said)
    assert sum(counts.values()) == 5


def test_json_within_json(tmp_path):
    """Found: thousands of lists in one another were a RecursionError."""
    folder = write_bundle(tmp_path / "b")
    for text in ("[" * 100_000, '{"a":' * 5000):
        (folder / "bundle.json").write_text(text)
        with pytest.raises(BundleError, match=r"bundle\.json: "):
            moodreel.load(folder)
    for depth, fine in ((DEEPEST, True), (DEEPEST + 1, False), (300, False)):
        nested = []
        for _ in range(depth - 3):  # in "training", in the whole
            nested = [nested]
        text = json.dumps(make_info(training={"a": nested}))
        if fine:
            assert BundleInfo.from_json(text).to_json()
        else:
            with pytest.raises(BundleError, match=f"more than {DEEPEST} deep"):
                BundleInfo.from_json(text)


def test_zips_whose_insides_are_broken(tmp_path):
    """Found: zlib.error, IndexError and struct.error came through."""
    import zipfile

    folder = write_bundle(tmp_path / "b")
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    whole = path.read_bytes()
    said = []
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            moodreel.runtime.bundle.read_bundle(path).read_model()
        except BundleError as error:
            said.append(str(error))
    assert len(said) > 50
    assert not any("\n" in text for text in said)
    plain = zip_bundle(folder, tmp_path / "plain.zip")
    assert moodreel.load(plain)


def test_large_texts_of_a_bundle(tmp_path):
    folder = write_bundle(tmp_path / "b")
    (folder / "bundle.json").write_text(" " * (5 << 20) + "{}")
    with pytest.raises(BundleError, match=r"bundle\.json: larger than 4194304 bytes"):
        moodreel.load(folder)


def test_a_name_in_a_zip_with_a_line_end(tmp_path, monkeypatch):
    """Found: it was quoted as it was."""
    import zipfile

    path = zip_bundle(write_bundle(tmp_path / "b"), tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a\nb", bytes(100_000))
    monkeypatch.setattr(moodreel.runtime.bundle, "MEMBER_LIMIT", 99_999)
    with pytest.raises(BundleError, match=r"'a\\nb' is larger than 99999 bytes") as caught:
        moodreel.load(path)
    assert "\n" not in str(caught.value)
