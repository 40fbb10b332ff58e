"""Bundles: what is accepted, and that each bad thing is named."""

import json
import zipfile

import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.errors import BundleError, SettingsError
from moodreel.runtime import bundle as rooms
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.schema import BundleInfo, Post, Sampling
from runtime.tiny import make_info, write_bundle, write_sta, zip_bundle


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "tiny", model=b"network")


def change(folder, **fields):
    path = folder / "bundle.json"
    content = {**json.loads(path.read_text("utf-8")), **fields}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), "utf-8")


def test_folder_and_zips_say_the_same(folder, tmp_path):
    root = zip_bundle(folder, tmp_path / "root.zip")
    nested = zip_bundle(folder, tmp_path / "nested.zip", prefix="tiny/")
    infos = [read_bundle(path).info for path in (folder, root, nested, str(folder))]
    assert all(info == infos[0] for info in infos)
    assert infos[0].labels.emotions == GIFGIF_17
    assert infos[0].sampling == Sampling("segments", count=4)
    for path in (folder, root, nested):
        assert read_bundle(path).read_model() == b"network"
        assert read_bundle(path).read_card() == "# tiny\n"


def test_size_is_that_of_all_files(folder):
    assert read_bundle(folder).size == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("system", ["kavan", "face"])
def test_json_round_trip(system):
    info = BundleInfo.from_json(json.dumps(make_info(system)))
    assert BundleInfo.from_json(info.to_json()) == info
    assert json.loads(info.to_json()) == make_info(system)
    assert info.to_json().startswith('{\n  "format": 1')


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": 2}, "format = 2"),
        ({"format": ...}, "format = None"),
        ({"name": ...}, "name = None"),
        ({"name": "a\nb"}, "name = "),
        ({"system": "vgg"}, "system = 'vgg': expected one of kavan, face, caca-rnn, sta"),
        ({"version": 1}, "version = 1"),
        ({"labels": {"emotions": ["joy"]}}, "labels.emotions = ['joy']"),
        ({"labels": {"emotions": [*GIFGIF_17], "categories": []}}, "labels.categories = []"),
        ({"labels": {"emotions": "joy"}}, "labels.emotions = 'joy'"),
        ({"labels": {"moods": []}}, "labels.moods"),
        ({"supervised": {"emotions": ["joy"]}}, "supervised.emotions = ['joy']"),
        ({"supervised": {"emotions": ["fear", "fear"]}}, "supervised.emotions"),
        ({"input": {"height": 0, "width": 8}}, "input.height = 0"),
        ({"input": {"height": 8}}, "input.width"),
        ({"input": {"height": 8, "width": True}}, "input.width = True"),
        ({"input": {"height": 8, "width": 8, "resize": "crop"}}, "input.resize = 'crop'"),
        ({"input": {"height": 8, "width": 8, "mean": [0.5]}}, "input.mean"),
        ({"input": {"height": 8, "width": 8, "std": [1, 1, "a"]}}, "input.std"),
        ({"input": []}, "input = []"),
        ({"sampling": {"count": 8}}, "sampling.method"),
        ({"sampling": {"method": "all"}}, "sampling.method = 'all'"),
        ({"sampling": {"method": "segments"}}, "sampling.count = None"),
        ({"sampling": {"method": "segments", "count": 8, "fps": 4}}, "sampling.fps = 4"),
        ({"sampling": {"method": "rate", "fps": 0}}, "sampling.fps = 0"),
        ({"sampling": {"method": "rate", "fps": 4, "limit": 0}}, "sampling.limit = 0"),
        ({"licences": "Apache-2.0"}, "licences = 'Apache-2.0'"),
        ({"sha256": {}}, "sha256 = {}"),
        ({"sha256": {"model.onnx": "abc"}}, "sha256.model.onnx = 'abc'"),
        ({"colour": "red"}, "colour = 'red'"),
    ],
)
def test_bad_field_is_named_with_its_file(folder, fields, said):
    change(folder, **fields)
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert f"{folder}/bundle.json: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("post", "said"),
    [
        ({"median_s": 4.5}, "post.median_s = 4.5: expected seconds, 0 to 4"),
        ({"median_s": -1}, "post.median_s = -1"),
        ({"centre": "0"}, "post.centre = '0'"),
        ({"scale": 0}, "post.scale = 0: expected a number above 0"),
        ({"scale": 10**400}, "post.scale = 1000"),
        ({"centre": float("nan")}, "post.centre = nan"),
        ({"shift_s": 1}, "post.shift_s = 1"),
        (1, "post = 1"),
    ],
)
def test_bad_post_processing_is_named(tmp_path, post, said):
    with pytest.raises(BundleError) as caught:
        read_bundle(write_sta(tmp_path / "tiny", post=post))
    assert f"bundle.json: {said}" in str(caught.value)


def test_post_processing_is_kept_and_is_of_traces_alone(tmp_path, folder):
    info = read_bundle(write_sta(tmp_path / "trace", post={"scale": 0.5})).info
    assert info.post == Post(scale=0.5)
    assert BundleInfo.from_json(info.to_json()) == info
    change(folder, post={"scale": 0.5})
    with pytest.raises(BundleError, match="only sta gives traces"):
        read_bundle(folder)


def test_not_a_number_is_refused(folder):
    text = (folder / "bundle.json").read_text("utf-8").replace("0.25, 0.25, 0.25", "0.25, NaN, 0.25")
    (folder / "bundle.json").write_text(text, "utf-8")
    with pytest.raises(BundleError, match=r"input\.std"):
        read_bundle(folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"kavan"', b"\xff\xfe", b""])
def test_bad_json(folder, content):
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json: "):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "card.md"])
def test_missing_file(folder, tmp_path, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"no {name}"):
        read_bundle(folder)
    with pytest.raises(BundleError, match=f"no {name}"):
        read_bundle(zip_bundle(folder, tmp_path / "b.zip"))


def test_altered_model(folder):
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        read_bundle(folder).read_model()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a\\..\\evil", "c:evil", "a/../../evil"])
def test_unsafe_names_in_a_zip(folder, tmp_path, name):
    path = zip_bundle(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(BundleError, match="unsafe name"):
        read_bundle(path)


def test_oversized_member(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "MEMBER_LIMIT", 6)
    with pytest.raises(BundleError, match="larger than 6 bytes"):
        read_bundle(zip_bundle(folder, tmp_path / "b.zip"))
    with pytest.raises(BundleError, match="larger than 6 bytes"):
        read_bundle(folder)


def test_two_bundles_in_a_zip(folder, tmp_path):
    path = zip_bundle(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.write(folder / "card.md", "card.md")
    with pytest.raises(BundleError, match=r"two card\.md"):
        read_bundle(path)


def test_what_is_no_bundle(tmp_path):
    (tmp_path / "b.zip").write_bytes(b"text")
    with pytest.raises(BundleError, match=r"b\.zip: not a folder and not a readable \.zip"):
        read_bundle(tmp_path / "b.zip")
    with pytest.raises(BundleError, match="no such folder"):
        read_bundle(tmp_path / "absent")


def test_names_are_those_that_ship(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "BUNDLED", tmp_path)
    write_bundle(tmp_path / "kavan", model=b"network")
    write_bundle(tmp_path / "face", "face", model=b"network")
    assert rooms.list_bundles() == ["face", "kavan"]
    assert read_bundle("kavan").info.name == "tiny-kavan"
    with pytest.raises(BundleError) as caught:
        read_bundle("sta")
    assert str(caught.value) == "no bundle 'sta' in this version; available: face, kavan"


def test_a_word_is_first_a_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "BUNDLED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    assert read_bundle("tiny").info.name == "tiny-kavan"  # a folder of the working directory
    write_bundle(tmp_path / "shipped" / "tiny", model=b"network", name="shipped")
    assert read_bundle("tiny").info.name == "shipped"
    assert read_bundle("./tiny").info.name == "tiny-kavan"


def test_the_dataclass_names_the_field():
    with pytest.raises(SettingsError, match=r"sampling\.count = 0"):
        Sampling("segments", count=0)
