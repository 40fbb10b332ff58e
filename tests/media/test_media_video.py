"""Video: written by PyAV with known levels and times, read back by PTS."""

import contextlib
import io
from fractions import Fraction

import av
import numpy as np
import pytest

from moodreel.errors import CorruptMedia, LimitExceeded, MediaError, UnsupportedMedia
from moodreel.media import Limits, open_media, read_clip, sample_media, segment_times
from moodreel.media import video as module

KINDS = {
    "mp4": ("mp4", "libx264", {"bf": "2", "g": "12", "preset": "ultrafast", "crf": "10"}),
    "mkv": ("matroska", "libx264", {"bf": "2", "g": "12", "preset": "veryfast", "crf": "10"}),
    "mov": ("mov", "libx264", {"bf": "0", "g": "5", "preset": "ultrafast", "crf": "10"}),
    "webm": (
        "webm",
        "libvpx-vp9",
        {"g": "10", "crf": "15", "b": "0", "deadline": "realtime", "cpu-used": "8"},
    ),
    "vp8": ("webm", "libvpx", {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "10", "b": "2M"}),
    "avi": ("avi", "mpeg4", {"g": "6", "b": "4M"}),
    "avi-b": ("avi", "mpeg4", {"g": "12", "bf": "2", "b": "4M"}),
}


def level(index):
    return 16 + (index * 37) % 220


def encode(kind, ticks, base=Fraction(1, 1000), size=(64, 48), rotation=None, gaps=None):
    """Writes one flat grey frame per entry of ``ticks`` (in units of ``base``)."""
    container, codec, options = KINDS[kind]
    stream_bytes = io.BytesIO()
    with av.open(stream_bytes, "w", format=container) as out:
        try:
            stream = out.add_stream(codec, rate=25, options=options)
        except Exception as error:  # a PyAV built without the encoder
            pytest.skip(f"no encoder {codec}: {error}")
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, tick in enumerate(ticks):
            gray = np.full((size[1], size[0], 3), level(index), np.uint8)
            if rotation is not None:
                gray[:8, :8] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(gray, format="rgb24")
            frame.pts, frame.time_base = tick, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return stream_bytes.getvalue()


def levels(frames):
    return frames[:, 24, 32, 0].astype(int)


def expected_levels(count):
    return np.array([level(k) for k in range(count)])


UNEVEN = [
    0,
    40,
    80,
    200,
    210,
    300,
    340,
    500,
    501,
    560,
    700,
    740,
    780,
    820,
    1000,
    1010,
    1500,
    1600,
    1700,
    1800,
]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov", "webm", "vp8"])
def test_variable_frame_rate(kind):
    clip = read_clip(encode(kind, UNEVEN))
    assert len(clip) == len(UNEVEN)
    assert clip.starts.tolist() == pytest.approx([t / 1000 for t in UNEVEN], abs=1e-9)
    assert clip.durations[:-1].tolist() == pytest.approx((np.diff(UNEVEN) / 1000).tolist(), abs=1e-9)
    assert 0 < clip.durations[-1] <= 0.1 + 1e-9
    assert np.abs(levels(clip.frames) - expected_levels(len(UNEVEN))).max() <= 6
    assert clip.loop is None


@pytest.mark.parametrize("kind", ["avi", "avi-b"])
def test_avi(kind):
    clip = read_clip(encode(kind, range(30), Fraction(1, 25)))
    assert len(clip) == 30
    assert clip.starts.tolist() == pytest.approx((np.arange(30) / 25).tolist(), abs=1e-9)
    assert np.abs(levels(clip.frames) - expected_levels(30)).max() <= 8


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_late_start_is_shifted_to_zero(kind):
    clip = read_clip(encode(kind, [t + 5000 for t in UNEVEN]))
    assert clip.starts[0] == 0
    assert clip.starts[1] == pytest.approx(0.04, abs=1e-9)


@pytest.mark.parametrize("kind", list(KINDS))
def test_any_frames_equal_those_of_the_full_clip(kind, monkeypatch):
    count = 60
    whole = encode(
        kind,
        [40 * k for k in range(count)] if "avi" not in kind else range(count),
        Fraction(1, 1000) if "avi" not in kind else Fraction(1, 25),
    )
    full = read_clip(whole).frames
    assert len(full) == count
    rng = np.random.default_rng(0)
    for seek_packets in (5, 10_000):
        monkeypatch.setattr(module, "SEEK_PACKETS", seek_packets)
        for wanted in (
            [count - 1],
            [0, count - 1],
            *(sorted(rng.choice(count, 6, replace=False)) for _ in range(6)),
        ):
            read = list(open_media(whole).read(wanted))
            assert [index for index, _ in read] == list(wanted)
            for index, frame in read:
                assert np.array_equal(frame, full[index]), index


def test_sampling_skips_what_lies_between_keyframes(monkeypatch):
    whole = encode("mov", [40 * k for k in range(60)])  # a keyframe every 5
    media = open_media(whole)
    fed = []
    real = module._pictures
    monkeypatch.setattr(module, "_pictures", lambda stream, packet: fed.append(1) or real(stream, packet))
    ((_, frame),) = media.read([55])
    assert abs(int(frame[24, 32, 0]) - level(55)) <= 6
    assert len(fed) <= 8


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_rotation(degrees, corner):
    clip = read_clip(encode("mp4", [0, 40, 80], rotation=degrees))
    assert clip.frames.shape[1:3] == ((48, 64) if degrees % 180 == 0 else (64, 48))
    row, column = (3 if side == 0 else -4 for side in corner)
    red = clip.frames[1, row, column].astype(int)
    assert red[0] > 200
    assert red[1:].max() < 60


def test_one_picture():
    media = open_media(encode("mp4", [0]))
    assert len(media) == 1
    assert media.timeline.starts.tolist() == [0.0]
    assert sample_media(media, segment_times(media.duration, 4)).frames.shape == (4, 48, 64, 3)


def test_sound_only_is_unsupported():
    stream_bytes = io.BytesIO()
    with av.open(stream_bytes, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate, sound.pts = 8000, 0
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    with pytest.raises(UnsupportedMedia, match="no video"):
        open_media(stream_bytes.getvalue())


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi", "webm"])
def test_broken_video_is_an_error_or_what_is_there_and_silent(kind, capfd):
    base = Fraction(1, 25)
    whole = encode(kind, range(40), base)
    full = read_clip(whole)
    rng = np.random.default_rng(1)
    for end in (12, 40, 200, len(whole) // 3, len(whole) - 40):
        with contextlib.suppress(CorruptMedia, UnsupportedMedia):
            assert len(read_clip(whole[:end])) <= len(full)
    for _ in range(6):
        noise = bytearray(whole)
        for place in rng.integers(40, len(whole), 60):
            noise[place] = int(rng.integers(256))
        with contextlib.suppress(CorruptMedia, UnsupportedMedia, LimitExceeded):
            media = open_media(bytes(noise))
            sample_media(media, segment_times(min(media.duration, 100.0), 4))
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_a_playlist_is_never_followed(tmp_path):
    target = tmp_path / "target.mp4"
    target.write_bytes(encode("mp4", [0, 40]))
    for text in (f"#EXTM3U\n#EXTINF:1,\n{target}\n", f"ffconcat version 1.0\nfile '{target}'\n"):
        for name in ("list.mp4", "list.m3u8"):
            (tmp_path / name).write_text(text)
            with pytest.raises(UnsupportedMedia):
                open_media(tmp_path / name)


def test_limits():
    whole = encode("mp4", range(0, 400, 40))
    with pytest.raises(LimitExceeded, match="canvas_pixels"):
        open_media(whole, Limits(canvas_pixels=64 * 48 - 1))
    with pytest.raises(LimitExceeded, match="frames"):
        open_media(whole, Limits(frames=9))
    with pytest.raises(LimitExceeded, match="decoded_bytes"):
        read_clip(whole, limits=Limits(decoded_bytes=64 * 48 * 3 * 10 - 1))


def test_a_path_reads_as_its_bytes(tmp_path):
    whole = encode("mkv", UNEVEN)
    path = tmp_path / "odd name: 100% #1?.mkv"
    path.write_bytes(whole)
    assert np.array_equal(read_clip(path).frames, read_clip(whole).frames)


def test_real_clips_sample_as_they_read(data):
    for name in ("no_face.mp4", "asl_no.mkv", "face_noface.mov"):
        path = data(f"clips/{name}")
        media = open_media(path)
        wanted = [3, len(media) // 2, len(media) // 2 + 1, len(media) - 1]
        found = dict(media.read(wanted))
        for index, frame in media.read(range(len(media))):
            if index in found:
                assert np.array_equal(frame, found[index]), (name, index)


def test_an_edit_list_hides_what_it_cuts(data):
    # The MP4's edit list starts after its first keyframe; ffprobe shows 95 of 98 packets.
    media = open_media(data("clips/no_face.mp4"))
    assert len(media) == 95
    assert media.timeline.starts[0] == 0


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_pictures_that_no_other_refers_to_are_not_decoded(kind, monkeypatch):
    whole = encode(kind, [40 * k for k in range(60)])
    full = read_clip(whole).frames
    given = []
    real = module._pictures

    def decode(stream, packet):
        found = real(stream, packet)
        given.extend(found)
        return found

    monkeypatch.setattr(module, "_pictures", decode)
    for wanted in ([59], [7, 20, 41], list(range(60))):
        given.clear()
        for index, frame in open_media(whole).read(wanted):
            assert np.array_equal(frame, full[index]), index
        counts = len(given)
        given.clear()
        monkeypatch.setattr(module._Feed, "pictures", lambda self, wanted=None, real=PICTURES: real(self))
        list(open_media(whole).read(wanted))
        assert counts <= len(given)
        if len(wanted) < 10:
            assert counts < len(given)  # there are B-frames in these
        monkeypatch.setattr(module._Feed, "pictures", PICTURES)


PICTURES = module._Feed.pictures


def test_a_picture_that_does_not_come_is_the_one_before_it():
    """A packet of zeros in the middle: sampling and reading all give the same, though one decodes less."""
    whole = bytearray(encode("mkv", [40 * k for k in range(60)]))
    container = module._libav().open(io.BytesIO(bytes(whole)))
    packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for number in (8, 23):
        broken = bytearray(whole)
        place, size = packets[number]
        start = whole.index(b"\0\0", place) if size < 8 else place + 8
        broken[start : place + size] = bytes(place + size - start)
        full = read_clip(bytes(broken)).frames
        for wanted in ([10], [24, 25, 26], [30, 59]):
            for index, frame in open_media(bytes(broken)).read(wanted):
                assert np.array_equal(frame, full[index]), (number, index)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    """Else it would be pictures of the one at the times of the other."""
    ticks = range(0, 2000, 40)
    file = tmp_path / "a.mp4"
    file.write_bytes(encode("mp4", ticks))
    media = open_media(file)
    assert len(list(media.read(range(10)))) == 10
    frames = media.read(range(10))
    next(frames)
    file.write_bytes(encode("mp4", range(0, 4000, 80)))
    for read in (frames, media.read([0, 7]), media.read_resized([3], (8, 8))):
        with pytest.raises(CorruptMedia, match=r"a\.mp4: the file changed while it was read"):
            list(read)
    assert len(list(open_media(file).read([0, 49]))) == 2
    media = open_media(file)
    file.unlink()
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be opened: No such file"):
        list(media.read([0]))
