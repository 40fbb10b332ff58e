"""GIF: every pixel and every time, from bytes written here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_gif_builder import COLOURS, LOCAL, Gif, Picture, blocks, composite, fill, lzw, over_white

from moodreel.errors import CorruptMedia, LimitExceeded, MediaError
from moodreel.media import Limits, open_media, read_clip, sample_media
from moodreel.media.gif_scan import Rect

RED, GREEN, BLUE = (*COLOURS[2], 255), (*COLOURS[3], 255), (*COLOURS[4], 255)
CLEAR = (0, 0, 0, 0)


def rgba(gif):
    return read_clip(gif.to_bytes() if isinstance(gif, Gif) else gif, "rgba").frames


def pixel(frame, x, y):
    return tuple(int(value) for value in frame[y, x])


@pytest.mark.parametrize(
    ("disposal", "left_behind"),
    [(0, GREEN), (1, GREEN), (2, CLEAR), (3, RED), (4, RED), (5, GREEN), (7, GREEN)],
)
def test_disposal(disposal, left_behind):
    gif = Gif(
        4,
        4,
        [
            Picture(fill(2, 4, 4), disposal=1),
            Picture(fill(3, 2, 2), left=1, top=1, disposal=disposal),
            Picture(fill(4, 1, 1), left=3, top=3),
        ],
    )
    frames = rgba(gif)
    assert pixel(frames[1], 1, 1) == GREEN
    assert pixel(frames[1], 0, 0) == RED
    assert pixel(frames[2], 1, 1) == left_behind
    assert pixel(frames[2], 0, 0) == RED
    assert pixel(frames[2], 3, 3) == BLUE
    assert np.array_equal(frames, composite(gif))


def test_transparent_index_shows_what_is_below_and_white_in_rgb():
    gif = Gif(2, 1, [Picture([[2, 0]], transparent=0), Picture([[0, 0]], transparent=0)])
    frames = rgba(gif)
    assert pixel(frames[1], 0, 0) == RED
    assert pixel(frames[1], 1, 0)[3] == 0
    assert read_clip(gif.to_bytes()).frames[1].tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_local_palette_belongs_to_its_image_only():
    gif = Gif(1, 1, [Picture([[2]]), Picture([[2]], local=LOCAL), Picture([[2]])])
    assert [pixel(frame, 0, 0)[:3] for frame in rgba(gif)] == [COLOURS[2], LOCAL[2], COLOURS[2]]


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 9, 17])
def test_interlaced_rows_come_in_order(height):
    rows = [[y % 8] * 3 for y in range(height)]
    gif = Gif(3, height, [Picture(rows, interlaced=True)])
    assert [pixel(rgba(gif)[0], 1, y)[:3] for y in range(height)] == [COLOURS[y % 8] for y in range(height)]


def test_an_image_beyond_the_canvas_is_cut():
    gif = Gif(3, 3, [Picture(fill(2, 3, 3)), Picture(fill(3, 5, 5), left=2, top=2), Picture([[4]], left=9)])
    frames = rgba(gif)
    assert frames.shape == (3, 3, 3, 4)
    assert pixel(frames[1], 2, 2) == GREEN
    assert (frames[1] == composite(gif)[1]).all()
    assert (frames[2] == frames[1]).all()


def test_times_are_the_files_with_short_delays_played_as_browsers_do():
    gif = Gif(1, 1, [Picture([[2]], delay=d) for d in (7, 0, 1, 2, 250)], loop=3)
    clip = read_clip(gif.to_bytes())
    assert clip.raw_durations.tolist() == [0.07, 0.0, 0.01, 0.02, 2.5]
    assert clip.durations.tolist() == [0.07, 0.1, 0.1, 0.02, 2.5]
    assert clip.starts.tolist() == [0.0, 0.07, 0.17, 0.27, 0.29]
    assert clip.duration == pytest.approx(2.79, abs=1e-12)
    assert clip.loop == 3


@pytest.mark.parametrize("loop", [None, 0, 1, 65535])
def test_loop_count(loop):
    assert read_clip(Gif(1, 1, [Picture([[2]])], loop=loop).to_bytes()).loop == loop


def test_many_equal_delays_carry_no_rounding():
    clip = read_clip(Gif(1, 1, [Picture([[2]], delay=3) for _ in range(1000)]).to_bytes())
    assert clip.starts[999] == 2997 / 100


def test_a_control_block_counts_for_one_image_only():
    gif = Gif(1, 1, [Picture([[2]], delay=20, transparent=2), Picture([[2]], control=False)])
    clip = read_clip(gif.to_bytes(), "rgba")
    assert clip.raw_durations.tolist() == [0.2, 0.0]
    assert pixel(clip.frames[0], 0, 0)[3] == 0
    assert pixel(clip.frames[1], 0, 0) == RED


def test_an_index_past_the_colour_table_draws_nothing():
    gif = Gif(2, 1, [Picture([[3, 5]], bits=3)], colours=COLOURS[:4])
    frames = rgba(gif)
    assert pixel(frames[0], 0, 0) == GREEN
    assert pixel(frames[0], 1, 0)[3] == 0


def test_without_any_colour_table_indices_are_grey():
    assert pixel(rgba(Gif(1, 1, [Picture([[5]])], colours=None))[0], 0, 0) == (5, 5, 5, 255)


def test_missing_pixels_keep_what_was_there():
    short = blocks(lzw([3] * 5, 3))
    for interlaced in (False, True):
        gif = Gif(4, 4, [Picture(fill(2, 4, 4)), Picture(fill(3, 4, 4), data=short, interlaced=interlaced)])
        frames = rgba(gif)
        assert (frames[1] == GREEN).all(-1).sum() == 5
        assert (frames[1] == RED).all(-1).sum() == 11


def test_sampling_finds_out_that_an_opaque_image_lacks_pixels():
    # Frame 2 looks as if it replaced all before it; its data ends early, so it does not.
    short = blocks(lzw([3] * 5, 3))
    pictures = [Picture(fill(2, 4, 4)), Picture([[4]], left=3, top=3), Picture(fill(3, 4, 4), data=short)]
    whole = Gif(4, 4, [*pictures, Picture([[4]])]).to_bytes()
    clip = read_clip(whole, "rgba")
    for index in (2, 3):
        ((_, frame),) = open_media(whole).read([index], "rgba")
        assert np.array_equal(frame, clip.frames[index])


def test_replaced_images_are_not_decoded(monkeypatch):
    from moodreel.media import gif as module

    decoded = []
    real = module._decode
    monkeypatch.setattr(
        module, "_decode", lambda data, frame: decoded.append(frame.delay) or real(data, frame)
    )
    stickers = [Picture(fill(2, 4, 4), disposal=2, delay=10 + i, transparent=0) for i in range(9)]
    opaque = [Picture(fill(2, 4, 4), delay=10 + i) for i in range(9)]
    restored = [Picture(fill(2, 2, 2), disposal=3, delay=10 + i, transparent=0) for i in range(9)]
    kept = [Picture(fill(2, 4, 4), delay=10 + i, transparent=0) for i in range(4)]
    for pictures, wanted, expected in (
        (stickers, [3, 7], [13, 17]),
        (opaque, [3, 7], [13, 17]),
        (restored, [3, 7], [13, 17]),
        (kept, [1, 3], [10, 11, 12, 13]),
    ):
        decoded.clear()
        list(open_media(Gif(4, 4, pictures).to_bytes()).read(wanted))
        assert decoded == expected


def test_single_frames_equal_the_slow_reference():
    # Small canvas, few shapes: images often hide, clear or restore each other wholly.
    rng = np.random.default_rng(0)

    def picture(local):
        left, top, width, height = rng.integers([0, 0, 1, 1], [3, 3, 5, 5])
        cells = rng.integers(0, 8, (height, width)).tolist()
        seen_through = int(rng.integers(8)) if rng.random() < 0.5 else None
        disposal = int(rng.choice([0, 1, 2, 3]))
        return Picture(cells, int(left), int(top), disposal=disposal, transparent=seen_through, local=local)

    for _ in range(400):
        locals_ = [None, LOCAL] if rng.random() < 0.5 else [None]  # one table: composited as indices
        gif = Gif(4, 4, [picture(locals_[k % len(locals_)]) for k in range(rng.integers(2, 9))])
        expected, whole = composite(gif), gif.to_bytes()
        for wanted in ([len(expected) - 1], sorted(rng.choice(len(expected), 2, replace=False).tolist())):
            for index, frame in open_media(whole).read(wanted, "rgba"):
                assert np.array_equal(frame, expected[index])


boxes = st.tuples(*[st.integers(0, 5)] * 4).map(lambda b: Rect(b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(one=boxes, other=boxes)
def test_boxes_without_boxes(one, other):
    def cells(rect):
        return {(x, y) for x in range(rect.left, rect.right) for y in range(rect.top, rect.bottom)}

    parts = one.without(other)
    assert sum(len(cells(part)) for part in parts) == len(cells(one) - cells(other))
    assert set().union(*map(cells, parts)) == cells(one) - cells(other)
    assert cells(one.cut(other)) == cells(one) & cells(other)


def test_truncation_gives_what_is_there():
    gif = Gif(4, 4, [Picture([[(x * y + k) % 8 for x in range(4)] for y in range(4)]) for k in range(3)])
    whole = gif.to_bytes()
    frames = composite(gif)
    seen = set()
    for end in range(len(whole)):
        try:
            clip = read_clip(whole[:end], "rgba")
        except MediaError:
            seen.add(0)
            continue
        seen.add(len(clip))
        assert np.array_equal(clip.frames[:-1], frames[: len(clip) - 1])
        last, before = clip.frames[-1], clip.frames[len(clip) - 2] if len(clip) > 1 else 0 * clip.frames[0]
        assert ((last == frames[len(clip) - 1]) | (last == before)).all()
    assert seen == {0, 1, 2, 3}


def test_a_screen_without_an_image_is_one_transparent_frame():
    clip = read_clip(Gif(3, 2).to_bytes(), "rgba")
    assert clip.frames.shape == (1, 2, 3, 4)
    assert not clip.frames[..., 3].any()
    assert (read_clip(Gif(3, 2).to_bytes()).frames == 255).all()


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a",
        Gif(3, 2, trailer=b"").to_bytes(),
        Gif(0, 2, [Picture([[1]])]).to_bytes(),
        Gif(2, 2, [Picture(fill(1, 2, 2), data=b"\x02\xff\xff\0")]).to_bytes(),
        Gif(2, 2, [Picture(fill(1, 2, 2), data=b"\0")]).to_bytes(),
        Gif(2, 2, [Picture(fill(1, 2, 2), data=b"\x02\x10\x00\0", bits=3)]).to_bytes()[:20],
    ],
)
def test_nothing_to_draw_is_corrupt(content):
    with pytest.raises(CorruptMedia):
        read_clip(content)


def test_garbage_after_an_image_ends_the_file():
    gif = Gif(1, 1, [Picture([[2]])], trailer=b"\x99" + b"junk" * 50)
    assert len(read_clip(gif.to_bytes())) == 1


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(canvas_pixels=15), "canvas_pixels"),
        (Limits(frames=2), "frames"),
        (Limits(file_bytes=50), "file_bytes"),
        (Limits(decoded_bytes=191), "decoded_bytes"),
    ],
)
def test_limits(limits, word):
    whole = Gif(4, 4, [Picture(fill(2, 4, 4)) for _ in range(3)]).to_bytes()
    with pytest.raises(LimitExceeded, match=word):
        read_clip(whole, "rgba", limits=limits)


def test_decoded_bytes_bind_read_clip_but_not_sampling():
    whole = Gif(4, 4, [Picture(fill(2, 4, 4)) for _ in range(100)]).to_bytes()
    limits = Limits(decoded_bytes=len(whole))
    sample = sample_media(open_media(whole, limits), [0.0])
    assert sample.frame_count == 100
    with pytest.raises(LimitExceeded, match="decoded_bytes"):
        read_clip(whole, "rgba", Limits(decoded_bytes=6399))
    assert len(read_clip(whole, "rgba", Limits(decoded_bytes=6400))) == 100


def test_a_huge_canvas_is_refused_and_a_wide_one_is_not():
    with pytest.raises(LimitExceeded, match="65535 x 65535"):
        read_clip(Gif(65535, 65535, [Picture([[2]])]).to_bytes())
    assert read_clip(Gif(65535, 1, [Picture([[2]])]).to_bytes()).width == 65535
    small = Gif(1, 1, [Picture([[2]])]).to_bytes()
    place = small.index(b"\x2c") + 5
    with pytest.raises(LimitExceeded, match="image of"):
        read_clip(small[:place] + b"\xff\xff\xff\xff" + small[place + 4 :])


pictures = st.builds(
    lambda w, h, cells, **rest: Picture(
        [[cells[(y * w + x) % len(cells)] for x in range(w)] for y in range(h)], **rest
    ),
    w=st.integers(1, 7),
    h=st.integers(1, 7),
    cells=st.lists(st.integers(0, 7), min_size=1, max_size=11),
    left=st.integers(0, 6),
    top=st.integers(0, 6),
    delay=st.integers(0, 20),
    disposal=st.integers(0, 7),
    transparent=st.none() | st.integers(0, 7),
    local=st.none() | st.just(LOCAL) | st.just(LOCAL[:4]),
    interlaced=st.booleans(),
)


@settings(max_examples=300)
@given(
    gif=st.builds(Gif, st.integers(1, 6), st.integers(1, 6), st.lists(pictures, min_size=1, max_size=7)),
    chosen=st.sets(st.integers(0, 6), min_size=1),
)
def test_compositing_equals_the_slow_reference(gif, chosen):
    expected = composite(gif)
    whole = gif.to_bytes()
    frames = read_clip(whole, "rgba").frames
    assert np.array_equal(frames[..., 3], expected[..., 3])
    assert np.array_equal(over_white(frames), over_white(expected))
    assert np.array_equal(read_clip(whole).frames, over_white(expected))
    wanted = sorted(index for index in chosen if index < len(expected)) or [0]
    for mode, full in (("rgba", frames), ("rgb", over_white(expected))):
        read = list(open_media(whole).read(wanted, mode))
        assert [index for index, _ in read] == wanted
        for index, frame in read:
            assert np.array_equal(frame, full[index])
    # at its own size a frame is not resized: what prediction reads is what the reference says
    pictures = open_media(whole).read_resized(wanted, (gif.height, gif.width))
    assert [np.array_equal(frame, over_white(expected)[index]) for index, frame in pictures] == [True] * len(
        wanted
    )


def test_stickers_are_resized_without_a_canvas(monkeypatch):
    from moodreel.media import gif as module

    painted = []
    real = module._Painter.paint
    monkeypatch.setattr(module._Painter, "paint", lambda self, k: painted.append(k) or real(self, k))
    part = Picture(fill(3, 2, 2), left=1, top=1, transparent=3)
    kinds = {
        "fills, seen through": [Picture(fill(2, 4, 4), disposal=2, transparent=0) for _ in range(4)],
        "a part": [Picture(fill(2, 2, 3), left=1, disposal=2, transparent=0) for _ in range(4)],
        "opaque": [Picture(fill(2, 4, 4)) for _ in range(4)],
        "restored": [Picture(fill(2, 4, 4), disposal=3, transparent=0) for _ in range(4)],
        "over another": [Picture(fill(2, 4, 4), disposal=1), part, part, Picture(fill(2, 4, 4))],
    }
    for kind, pictures in kinds.items():
        gif = Gif(4, 4, pictures)
        expected = over_white(composite(gif))
        painted.clear()
        for index, frame in open_media(gif.to_bytes()).read_resized([0, 1, 2, 3], (4, 4)):
            assert np.array_equal(frame, expected[index]), (kind, index)
        # what lies over another needs the canvas, on which the frame before it is drawn late
        expected_paints = {"over another": [1, 2], "restored": [1, 2, 3]}
        assert painted == expected_paints.get(kind, []), kind


def test_resized_frames_equal_those_of_a_clip_in_memory():
    gif = Gif(40, 30, [Picture(fill(k % 8, 20, 10), left=k, top=2 * k, transparent=0) for k in range(9)])
    whole = gif.to_bytes()
    times = [0.0, 0.12, 0.33, 0.12]
    for size in ((7, 9), (60, 80), (30, 40), (15, 90)):
        direct = sample_media(open_media(whole), times, size)
        memory = sample_media(open_media(read_clip(whole)), times, size)
        assert np.array_equal(direct.frames, memory.frames)
    assert np.array_equal(direct.frames[1], direct.frames[3])


def test_real_stickers_sample_as_they_read(data):
    for name in ("1f493", "1f636"):
        path = data(f"emoji/gif/{name}.gif")
        clip = read_clip(path)
        for index, frame in open_media(path).read([2, 9, 10, len(clip) - 1]):
            assert np.array_equal(frame, clip.frames[index])
