"""Any input, any failure: what comes back is a Clip or a MediaError of one line."""

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
from media_gif_builder import Gif, Picture, fill
from PIL import Image

import moodreel.media
from moodreel.errors import CorruptMedia, LimitExceeded, MediaError, SettingsError, UnsupportedMedia
from moodreel.media import (
    MEDIA_SUFFIXES,
    Limits,
    is_frame_folder,
    is_media_path,
    open_media,
    read_clip,
    sample_media,
)

GIF = Gif(3, 2, [Picture(fill(k, 3, 2), delay=10 * k) for k in (2, 3, 4)], loop=0).to_bytes()


def test_exported_names_are_sorted_and_there():
    names = moodreel.media.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(moodreel.media, name) for name in names)


def test_importing_loads_neither_pillow_nor_libav():
    code = "import sys, moodreel.media; print([m for m in ('av', 'PIL', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("make", [str, lambda path: path, lambda path: path.read_bytes()])
def test_path_and_bytes(tmp_path, make):
    path = tmp_path / "wrongly-named.mp4"
    path.write_bytes(GIF)
    source = make(path)
    clip = read_clip(source)
    assert clip.frames.shape == (3, 2, 3, 3)
    assert clip.durations.tolist() == [0.2, 0.3, 0.4]
    assert clip.source == ("<bytes>" if isinstance(source, bytes) else str(path))


@pytest.mark.parametrize(
    ("content", "kind", "word"),
    [
        (b"", CorruptMedia, "empty"),
        (b"just some text\n" * 9, UnsupportedMedia, "not a GIF, PNG, "),
        (b"GIF", UnsupportedMedia, "not a GIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMedia, "not a GIF"),
        (b"\0\0\0\x18ftypheic" + bytes(50), UnsupportedMedia, "not a GIF"),
        (b"\0\0\0\x18ftypisom" + bytes(50), CorruptMedia, "video"),
        (b"\x1aE\xdf\xa3" + bytes(50), CorruptMedia, "video"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(50), CorruptMedia, "video"),
        (b"RIFF\x10\0\0\0WEBPVP8X" + bytes(3), CorruptMedia, "pixels"),
        (b"\x89PNG\r\n\x1a\n", CorruptMedia, "PNG"),
        (b"\xff\xd8\xff\xe0", CorruptMedia, "JPEG"),
        (b"BM" + bytes(40), CorruptMedia, "BMP"),
    ],
)
def test_wrong_content(tmp_path, content, kind, word):
    path = tmp_path / "clip.gif"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(kind, match=word) as caught:
            read_clip(source)
        assert "\n" not in str(caught.value)
        assert caught.value.source == (str(path) if source is path else "<bytes>")


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        open_media(tmp_path / "missing.gif")
    with pytest.raises(MediaError, match="no such file"):
        open_media("https://example.org/clip.gif")
    with pytest.raises(MediaError, match="cannot be opened"):
        open_media("nul\0.gif")
    with pytest.raises(MediaError, match="cannot be opened"):
        open_media("x" * 5000)
    with pytest.raises(UnsupportedMedia, match="folder"):
        open_media(tmp_path)
    os.mkfifo(tmp_path / "pipe.gif")
    with pytest.raises(UnsupportedMedia, match="regular file"):
        open_media(tmp_path / "pipe.gif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "locked.gif"
    path.write_bytes(GIF)
    path.chmod(0)
    with pytest.raises(MediaError, match="permission"):
        open_media(path)


def test_permission_error_is_one_line(tmp_path, monkeypatch):
    from pathlib import Path

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    path = tmp_path / "locked.gif"
    path.touch()
    with pytest.raises(MediaError, match="permission denied"):
        open_media(path)


def test_arrays():
    frames = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    clip = read_clip(frames)
    assert np.array_equal(clip.frames, frames)
    assert clip.starts.tolist() == [0.0, 0.1]
    assert clip.duration == pytest.approx(0.2)
    assert read_clip(frames, fps=4).starts.tolist() == [0.0, 0.25]
    assert read_clip(frames[0]).duration == 0.0
    assert (read_clip(frames, "rgba").frames[..., 3] == 255).all()
    glass = np.zeros((1, 2, 4), np.uint8)
    assert (read_clip(glass).frames == 255).all()
    for wrong in (frames.astype(float), frames[0, 0], frames[..., :2], frames[:0]):
        with pytest.raises(UnsupportedMedia, match="expected uint8"):
            open_media(wrong)
    with pytest.raises(LimitExceeded, match="frames"):
        open_media(frames, Limits(frames=1))
    with pytest.raises(UnsupportedMedia, match="int"):
        open_media(7)


def test_clips_pass_through():
    clip = read_clip(GIF, "rgba")
    again = read_clip(clip, "rgba")
    assert np.array_equal(clip.frames, again.frames)
    assert (again.loop, again.source) == (clip.loop, clip.source)
    assert again.starts.tolist() == clip.starts.tolist()
    assert read_clip(clip).frames.shape[-1] == 3


def test_pillow_images(tmp_path):
    clip = read_clip(Image.new("L", (4, 3), 9))
    assert clip.frames.shape == (1, 3, 4, 3)
    assert clip.duration == 0.0
    path = tmp_path / "a.gif"
    path.write_bytes(GIF)
    with Image.open(path) as image:
        animated = read_clip(image)
    assert np.array_equal(animated.frames, read_clip(path).frames)
    assert animated.durations.tolist() == [0.2, 0.3, 0.4]


def test_suffixes():
    assert is_media_path("a/B.GIF")
    assert is_media_path("x.webm")
    assert not is_media_path("notes.txt")
    assert not is_media_path("gif")
    assert {".gif", ".apng", ".png", ".webp", ".mp4", ".mov", ".jpeg", ".bmp"} <= MEDIA_SUFFIXES


def stills(folder, names, size=(4, 3)):
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        Image.new("RGB", size, (10 * place, 0, 0)).save(folder / name)
    return folder


def test_frame_folders(tmp_path):
    folder = stills(tmp_path / "walk", ["f_1.png", "f_2.png", "f_10.png"])
    (folder / ".DS_Store").touch()
    assert is_frame_folder(folder)
    clip = read_clip(folder)
    assert clip.frames[:, 0, 0, 0].tolist() == [0, 10, 20]  # 10 after 2
    assert clip.starts.tolist() == [0.0, 0.1, 0.2]
    assert open_media(folder, fps=25).timeline.starts.tolist() == [0.0, 0.04, 0.08]
    assert sample_media(open_media(folder), [0.25], (2, 2)).frames[0, 0, 0, 0] == 20


@pytest.mark.parametrize(
    "names", [["a_1.png"], ["a.png", "b.png"], ["a_1.png", "b_2.png"], ["a_1.png", "a_2.jpg"], []]
)
def test_other_folders_are_none(tmp_path, names):
    assert not is_frame_folder(stills(tmp_path / "x", names))
    assert not is_frame_folder(tmp_path / "missing")


def test_a_frame_folder_with_notes_is_none(tmp_path):
    folder = stills(tmp_path / "x", ["1.png", "2.png"])
    (folder / "notes.txt").touch()
    assert not is_frame_folder(folder)


def test_frames_of_another_size_are_named(tmp_path):
    folder = stills(tmp_path / "x", ["1.png", "2.png", "3.png"])
    Image.new("RGB", (5, 3)).save(folder / "2.png")
    with pytest.raises(CorruptMedia, match=r"2\.png is 5 x 3, 1\.png is 4 x 3"):
        read_clip(folder)


@pytest.mark.parametrize("field", ["file_bytes", "canvas_pixels", "frames", "decoded_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, None, True, "9"])
def test_limits_name_the_field(field, value):
    with pytest.raises(SettingsError, match=f"Limits.{field}"):
        Limits(**{field: value})


def test_settings_are_named():
    with pytest.raises(SettingsError, match="mode"):
        read_clip(GIF, "bgr")
    with pytest.raises(SettingsError, match="fps"):
        open_media(GIF, fps=0)


FUZZ = """
import resource, sys, time
from pathlib import Path
from moodreel.errors import MediaError
from moodreel.media import open_media, read_clip, sample_media
import av, PIL.Image, PIL.PngImagePlugin  # mapped before the bound is set
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (640 << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
clips = errors = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        clip = read_clip(path, "rgba")
        sample_media(open_media(path), [0.0, clip.duration], (16, 16))
        clips += 1
    except MediaError as error:
        assert error.reason and "\\n" not in str(error) and "out of memory" not in error.reason, error
        errors += 1
print(clips, errors)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory through /proc and RLIMIT_AS")
def test_hostile_gifs_in_little_memory(data):
    folder = data("gif_fuzz")
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-800:]
    clips, errors = map(int, done.stdout.split())
    assert clips + errors == len(list(folder.iterdir()))
    assert clips >= 140
    assert done.stderr == ""


def test_random_damage_never_raises_anything_else():
    rng = np.random.default_rng(0)
    for _ in range(400):
        noise = bytearray(GIF)
        for place in rng.integers(6, len(noise), 4):
            noise[place] = int(rng.integers(256))
        with contextlib.suppress(MediaError):
            assert len(read_clip(bytes(noise), limits=Limits(canvas_pixels=1 << 20))) >= 1
