"""What CACA-RNN read, on the picture, in the page and in words."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from moodreel.media import Timeline, write_gif
from moodreel.media.base import ArrayMedia
from moodreel.report import OverlayFolder, OverlaySettings, Report, name_overlay
from moodreel.report.colours import PALETTE, find_colour, find_quadrant
from moodreel.report.overlay import draw_overlay, plan_frames
from moodreel.report.panel import attach_panel
from moodreel.report.scene import LIGHT, attach_strip, draw_box, lay_bars, place_boxes
from moodreel.report.scene_text import format_share, tell_moment, tell_scene
from moodreel.report.terminal import ResultTable, Style, format_chart
from moodreel.types import SceneReading
from report.fakes import NO_FACE, SEEN, make_error, make_face, make_result, make_scene

GREY = np.full((2, 200, 300, 3), 128, np.uint8)
LOW, HIGH, TRACK, EVEN = (70, 78, 96), (255, 214, 102), (36, 40, 48), (150, 158, 172)


def sights(times, lefts):
    boxes = np.array([[x, 0.0, x + 0.5, 1.0] for x in lefts])
    return SceneReading(1.0, 0, np.array(times), boxes)


def lefts(boxes):
    return [None if np.isnan(box).any() else round(float(box[0]), 6) for box in boxes]


def test_a_box_is_linear_between_near_sights_and_nowhere_else():
    starts = np.arange(20) / 10
    scene = sights([0.3, 0.6, 1.1, 1.5], [0.0, 0.3, 0.5, 0.1])
    boxes = place_boxes(scene, starts, np.arange(20))
    # 0.6 and 1.1 are 0.5 s apart: nothing between them; 1.1 and 1.5 are 0.4
    expected = [None] * 3 + [0.0, 0.1, 0.2, 0.3] + [None] * 4 + [0.5, 0.4, 0.3, 0.2, 0.1] + [None] * 4
    assert lefts(boxes) == expected
    np.testing.assert_allclose(boxes[4], [0.1, 0.0, 0.6, 1.0])
    assert lefts(place_boxes(scene, starts, [5, 11])) == [0.2, 0.5]


def test_a_box_belongs_to_the_picture_that_was_looked_at():
    """Ticks at 0, 0.2 and 0.4 s of pictures half a second long: the third looks at the second picture."""
    starts = np.array([0.0, 0.5, 1.0])
    assert lefts(place_boxes(sights([0.4], [0.25]), starts, [0, 1, 2])) == [None, 0.25, None]
    assert lefts(place_boxes(sights([0.0, 0.2], [0.25, 0.25]), starts, [0, 1, 2])) == [0.25, None, None]
    assert np.isnan(place_boxes(SceneReading(0.0), starts, [0, 1, 2])).all()


def test_the_pixels_of_a_box():
    frame = draw_box(GREY[0], np.array([0.1, 0.4, 0.5, 0.8]), "face 3")
    light = (frame == LIGHT).all(axis=2)
    # 0.1 to 0.5 of 300 and 0.4 to 0.8 of 200; lines 2 px thick, their outermost pixels on the box
    assert light[80:160, 30:32].all()
    assert light[80:160, 148:150].all()
    assert light[80:82, 30:150].all()
    assert light[158:160, 30:150].all()
    assert not light[80:160, 150:].any()
    assert not light[160:, :].any()
    assert (frame[83:157, 33:147] == 128).all()
    assert (frame[161:] == 128).all()
    tag = light[60:79, 30:60]
    assert 0.4 < tag.mean() < 1  # the label, above
    assert not light[:60].any()


@pytest.mark.parametrize(
    ("box", "rows"),
    [([0.1, 0.0, 0.5, 0.5], slice(102, 116)), ([-0.2, -0.3, 1.4, 1.2], slice(2, 14))],
)
def test_a_label_without_room_above_stands_below_or_inside(box, rows):
    frame = draw_box(GREY[0], np.array(box), "face 0")
    light = (frame == LIGHT).all(axis=2)
    left = round(max(box[0], 0) * 300)
    assert light[rows, left + 3 : left + 30].mean() > 0.4
    if box[2] > 1:  # what reaches beyond the frame is drawn at its edge
        assert light[:, [0, 299]].all()
        assert light[[0, 199], :].all()


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3), (16, 16)])
@pytest.mark.parametrize("box", [[0, 0, 1, 1], [2, 2, 3, 3], [-3, -3, -2, -2], [0.5, 0.5, 0.5, 0.5]])
def test_a_box_is_drawn_in_any_frame(size, box):
    frame = np.full((*size, 3), 128, np.uint8)
    assert draw_box(frame, np.array(box, float), "face 12").shape == (*size, 3)
    assert (frame == 128).all()


def test_bars_lie_where_their_moments_are():
    bars = lay_bars(make_scene("x").scene, 1.0)
    np.testing.assert_allclose(bars.left, [0.0, 0.1, 0.3, 0.5, 0.7])
    np.testing.assert_allclose(bars.right, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(bars.level, [0.2, 1.0, 0.4, 0.4, 0.0])
    assert bars.even == pytest.approx(0.4)
    assert lay_bars(None, 1.0) is None
    assert lay_bars(make_scene("x", NO_FACE).scene, 1.0) is None


def test_nearly_even_attention_is_no_find():
    even = {"moments": np.full(4, 0.25), "moment_times": np.arange(4.0)}
    bars = lay_bars(make_scene("x", even).scene, 4.0)
    assert bars.level.tolist() == [0.5] * 4
    assert bars.even == 0.5


def test_many_moments_keep_their_strongest():
    moments = np.full(1000, 0.5 / 999)
    moments[777] = 0.5
    bars = lay_bars(
        make_scene("x", {"moments": moments, "moment_times": np.arange(1000.0)}).scene, 1000.0, 100
    )
    assert len(bars.level) == 100
    assert bars.level.argmax() == 77
    assert bars.level.max() == 1
    assert np.diff(bars.left).min() > 0
    assert (bars.right[:-1] <= bars.left[1:] + 1e-12).all()
    narrow = attach_strip(np.zeros((1, 40, 3), np.uint8), lay_bars(make_scene("x").scene, 1.0), 0.0)
    assert narrow.shape == (18, 40, 3)
    strip = attach_strip(np.zeros((1, 100, 3), np.uint8), bars, 0.0)
    assert tuple(strip[2, 77]) == HIGH


def test_the_pixels_of_the_strip():
    frame = np.full((50, 200, 3), 7, np.uint8)
    scene = make_scene("x").scene
    strip = attach_strip(frame, lay_bars(scene, 1.0), 0.75)
    assert strip.shape == (50 + 17, 200, 3)
    assert (strip[:50] == 7).all()
    last = strip[-1].astype(int)
    # brightness of each bar by its level, 0.2, 1, 0.4, 0.4, 0: 0.1 s are 20 px, 5 moments of 0.2 s
    for middle, level in [(10, 0.2), (40, 1.0), (80, 0.4), (120, 0.4)]:
        colour = np.array(LOW) + level * (np.array(HIGH) - np.array(LOW))
        assert np.abs(last[middle] - colour).max() <= 0.5
    assert tuple(last[170]) == TRACK
    assert tuple(last[190]) == TRACK  # after the last moment's step
    assert tuple(last[59]) == tuple(last[99]) == TRACK  # bars stand apart
    filled = (strip[51:] != TRACK).any(axis=2) & (strip[51:] != EVEN).any(axis=2)
    assert [int(filled[:, x].sum()) for x in (11, 41, 81)] == [3, 16, 6]  # of 16 px
    assert (strip[51 + 16 - 6, ::2][[5, 20, 40, 85, 95]] == EVEN).all()  # even: 0.4 of 16 px
    cursor = (strip[51:] == LIGHT).all(axis=(0, 2))
    assert np.flatnonzero(cursor).tolist() == [150]
    end = attach_strip(frame, lay_bars(scene, 1.0), 1.0)
    assert np.flatnonzero((end[51:] == LIGHT).all(axis=(0, 2))).tolist() == [199]


def open_grey(count, step, size=(200, 300)):
    starts = np.arange(count) * step
    durations = np.full(count, step)
    return ArrayMedia(np.full((count, *size, 3), 128, np.uint8), Timeline(starts, durations, durations), "x")


def test_an_overlay_shows_the_face_where_it_is_and_a_cursor_that_moves():
    media = open_grey(10, 0.1)
    plan = plan_frames(media, OverlaySettings())
    frames = list(draw_overlay(make_scene("x"), media, plan, 400))
    assert len({frame.shape for frame in frames}) == 1
    white = [(frame[:200] == LIGHT).all(axis=2) for frame in frames]
    edges = [np.flatnonzero(lit[45:115].all(axis=0)) for lit in white]  # columns of the box's sides
    assert [list(columns[:1]) for columns in edges] == [[30], [60], [90]] + [[]] * 7
    assert [list(columns[-1:]) for columns in edges] == [[89], [119], [149]] + [[]] * 7
    cursors = [np.flatnonzero((frame[201:219] == LIGHT).all(axis=(0, 2))).tolist() for frame in frames]
    assert cursors == [[30 * k] for k in range(10)]
    plain = list(draw_overlay(make_scene("x"), media, plan, 400, panel=False))
    assert plain[0].shape == (200, 300, 3)
    assert (plain[0] == LIGHT).all(axis=2)[45:115].all(axis=0).sum() == 4
    assert (plain[5] == 128).all()


def test_an_overlay_without_a_face_is_the_picture_and_a_strip_only_with_moments():
    media = open_grey(3, 0.2)
    plan = plan_frames(media, OverlaySettings())
    for result in (make_scene("x", NO_FACE, faces=0), make_scene("x", {"moments": None})):
        frames = list(draw_overlay(result, media, plan, 400))
        assert (frames[2][:200, :300] == 128).all()
        assert tuple(frames[0][201, 5]) == (22, 24, 29)  # the panel follows at once
    whole = make_scene("x", {"boxes": np.array([[0.1, 0.1, 0.9, 0.9]] * 2)}, faces=None)
    for frame in draw_overlay(whole, media, plan, 400, panel=False):
        assert (frame == 128).all()


def test_results_of_other_systems_are_drawn_as_before():
    media = open_grey(2, 0.5)
    plan = plan_frames(media, OverlaySettings())
    for result in (make_result("x"), make_face("x")):
        for frame in draw_overlay(result, media, plan, 400):
            assert (attach_panel(frame[:200, :300], result) == frame).all()
            assert (frame[:200] == 128).all()


def test_the_panel_says_what_was_read():
    """Its notes are wrapped, not cut: the longer, the more lines."""
    small = np.zeros((60, 100, 3), np.uint8)
    heights = {
        name: attach_panel(small, result).shape[0]
        for name, result in {
            "nothing": replace(make_scene("x"), scene=None),
            "one": make_scene("x", {"face": 0}, faces=None),
            "several": make_scene("x", {"face": 3}, faces=12),
            "none": make_scene("x", NO_FACE, faces=0),
        }.items()
    }
    line = 20  # 1.5 times 13 px, rounded
    assert heights["one"] - heights["nothing"] in (line, 2 * line)
    assert heights["several"] - heights["nothing"] == 2 * line
    assert heights["none"] - heights["nothing"] == 2 * line


def test_words():
    assert tell_scene(make_face("x")) is None
    assert tell_scene(make_scene("x")) == "1 face found, in 40 % of the sampled instants"
    several = make_scene("x", {"face": 3}, faces=4)
    assert tell_scene(several) == "4 faces found; read: face 3, in 40 % of the sampled instants"
    assert tell_scene(make_scene("x", NO_FACE, 0)) == "no face was found: read from the scene alone"
    assert tell_scene(make_scene("x", faces=None)) == "the whole frame was taken as the face"
    assert tell_moment(make_scene("x").scene) == "most at 0.20 s: 50 % (even share 20 %)"
    assert tell_moment(make_scene("x", NO_FACE).scene) is None
    one = {"moments": np.ones(1), "moment_times": np.zeros(1)}
    assert tell_moment(make_scene("x", one).scene) is None
    shares = [0, 0.004, 0.0994, 0.0996, 0.62, 1]
    assert [format_share(s) for s in shares] == ["0 %", "0.4 %", "9.9 %", "10 %", "62 %", "100 %"]


class Plain(io.StringIO):
    encoding = "utf-8"


def test_chart_and_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    style = Style(Plain())
    lines = format_chart(make_scene("a.gif", {"face": 3}, faces=4), style).splitlines()
    assert lines[0] == "a.gif, face 3"
    assert lines[3].startswith("  happy          0.50  ████")
    assert lines[-3:] == [
        "  category happy, confidence 0.50",
        "  4 faces found; read: face 3, in 40 % of the sampled instants",
        "  moments attended to: most at 0.20 s: 50 % (even share 20 %)",
    ]
    lines = format_chart(make_scene("a.gif", NO_FACE, faces=0), style).splitlines()
    assert lines[0] == "a.gif"
    assert lines[-1] == "  no face was found: read from the scene alone"
    assert format_chart(make_face("a.gif", faces=2), style).endswith("  2 faces found\n")
    table = ResultTable(["a.gif"], ["happy"], style, with_faces=True)
    assert table.format_header() == "path   face  category  conf  strongest"
    assert table.format_result(make_scene("a.gif", {"face": 12})).startswith(
        "a.gif    12  happy     0.50  happy"
    )
    assert table.format_result(make_scene("a.gif", NO_FACE)).startswith("a.gif     -  happy ")
    assert table.format_result(make_error("a.gif")) == "a.gif     -  error: no such file"
    assert ResultTable(["a.gif"], ["happy"], style).format_header() == "path   category  conf  strongest"


def test_classes_have_the_colours_of_their_quadrants():
    assert find_colour("happy") is PALETTE["pleasure_arousal"]
    assert find_colour("anxious") is find_colour("angry") is find_colour("disgust")
    assert find_quadrant("sad") == "misery_sleepiness"
    assert find_quadrant("neutral") is None


def read_page(folder, *results, source=GREY):
    with Report(folder) as report:
        for result in results:
            assert report.add(result, source) == []
    return (folder / "index.html").read_text("utf-8")


def test_a_card_says_which_face_and_when(tmp_path):
    page = read_page(tmp_path / "r", make_scene("a.gif", {"face": 3, "share": 0.615}, faces=4))
    for name, fact in {"faces": "4", "read": "face 3", "seen": "62 % of instants"}.items():
        assert f"<div><dt>{name}</dt><dd>{fact}</dd></div>" in page
    assert 'a.gif</bdi><span class="which">, face 3</span></h2>' in page
    assert "a box around the face that was read" in page
    assert 'aria-label="Attention to the moments of the clip; most at 0.20 s: 50 % (even share 20 %)"' in page
    strip = re.search(r'<div class="strip">.*?</div>', page, re.S)[0]
    bars = re.findall(
        r'<rect x="(\d+)" y="([\d.]+)" width="(\d+)" height="([\d.]+)" opacity="([\d.]+)"', strip
    )
    assert bars == [
        ("0", "80.0", "98", "20.0", "0.48"),
        ("100", "0.0", "198", "100.0", "1.0"),
        ("300", "60.0", "198", "40.0", "0.61"),
        ("500", "60.0", "198", "40.0", "0.61"),
        ("700", "100.0", "198", "0.0", "0.35"),
    ]
    assert '<path d="M0 60.0H1000"/>' in strip
    assert "<span>1.00 s</span>" in strip
    assert "Circumplex" not in page
    assert "<script" not in page
    assert 'class="q1 strongest"><th scope="row">happy</th>' in page


def test_a_card_says_why_the_scene_alone_was_read(tmp_path):
    page = read_page(tmp_path / "r", make_scene("a.gif", NO_FACE, faces=0))
    assert '<p class="note">No face was found: read from the scene alone.</p>' in page
    assert "<dt>read</dt>" not in page
    assert "a box around" not in page
    assert 'class="strip"' not in page
    hostile = make_scene("a.gif", {**NO_FACE, "reason": "<b>x</b>"}, faces=0)
    assert "<b>" not in read_page(tmp_path / "h", hostile)


def test_faces_of_one_file_stay_apart(tmp_path):
    faces = [make_scene("a.gif", {"face": k}, faces=2) for k in (0, 3)]
    page = read_page(tmp_path / "r", *faces, make_scene("b.gif", NO_FACE, faces=0))
    assert "<h1>Moods of 2 clips <small>3 readings, one a face</small></h1>" in page
    assert "<caption>Readings by class</caption>" in page
    assert page.count("<article") == 3
    assert '<a href="#c2"><bdi>a.gif</bdi>, face 3</a>' in page
    head = re.search(r"<thead><tr>.*?</tr>", page)[0]
    assert re.findall(r">(\w+)</th>", head) == ["clip", "category", "confidence", "strongest"]
    lone = read_page(tmp_path / "one", *faces)
    assert "<h1>Mood of one clip <small>2 readings, one a face</small></h1>" in lone
    again = read_page(tmp_path / "again", faces[0], faces[0])  # the same name, another clip
    assert "<h1>Moods of 2 clips</h1>" in again


def test_overlays_of_the_faces_of_one_file_stay_apart(tmp_path):
    write_gif(tmp_path / "a.gif", GREY, [0.5, 0.5])
    source = str(tmp_path / "a.gif")
    folder = OverlayFolder(tmp_path / "o", "webp")
    for face, faces in [(0, 2), (3, 2), (0, 1)]:
        assert folder.add(make_scene(source, {"face": face}, faces=faces)) == []
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names == {name_overlay(source, "webp", face) for face in (0, 3, None)}
    digits = name_overlay(source, "webp").removeprefix("a-")
    assert names == {f"a-{digits}", f"a-face0-{digits}", f"a-face3-{digits}"}


def test_a_still_has_one_bar_and_no_time(tmp_path):
    still = {"times": np.zeros(1), "boxes": SEEN["boxes"][:1]}
    still |= {"moments": np.ones(1), "moment_times": np.zeros(1)}
    result = make_scene("a.png", still, duration=0.0, frames=1)
    page = read_page(tmp_path / "r", result, source=GREY[:1])
    assert '<rect x="0" y="50.0" width="998" height="50.0"' in page
