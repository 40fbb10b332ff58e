"""The page: whole, inside itself, safe against names, and readable without seeing it."""

import re
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.errors import SettingsError
from moodreel.media import open_media, write_gif
from moodreel.report import Report, write_report
from moodreel.report.overview import MOST_ERRORS, Overview
from report.fakes import make_error, make_face, make_result, peak_at

FRAMES = np.zeros((2, 20, 20, 3), np.uint8)
MINUS = "\N{MINUS SIGN}"
VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """A parsed page: every tag with its attributes, every text with the tags around it."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.texts, self._open = [], [], []
        self.feed(self.source)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((data.strip(), tuple(self._open)))

    def find(self, tag, **attrs):
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in attrs.items())]

    @property
    def text(self):
        return " ".join(text for text, around in self.texts if "style" not in around)


@pytest.fixture
def gif(tmp_path):
    write_gif(tmp_path / "party.gif", FRAMES, [0.5, 0.5])
    return tmp_path / "party.gif"


def write(folder, results, source=FRAMES, **options):
    with Report(folder, **options) as report:
        problems = [line for result in results for line in report.add(result, source)]
    return problems


def assert_inside_itself(page):
    """Nothing in the page leads out of it, but to its other pages."""
    for tag, attrs in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form", "image"}
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}:
                assert re.match(r"data:image/webp;base64,|#|(index|page-\d+)\.html(#|$)", value), value
    style = " ".join(text for text, around in page.texts if "style" in around)
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_one_clip(tmp_path, gif):
    assert write_report([make_result(gif, attention=peak_at(1, 5))], tmp_path / "r") == []
    page = Page(tmp_path / "r" / "index.html")
    assert_inside_itself(page)
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["index.html"]
    assert "Overview" not in page.text
    for fact in (
        "party.gif",
        "20 \N{MULTIPLICATION SIGN} 20 px",
        "1.00 s",
        "0.62",
        "kavan 0.1.0",
        "pleasure-arousal",
    ):
        assert fact in page.text
    assert "Looked most at 79 % across, 21 % down." in page.text
    moving, still = page.find("img")
    assert moving["alt"] == "Animation of party.gif, heat where the model looked"
    assert still["alt"] == "First frame of party.gif"
    media = open_media(b64decode(moving["src"].partition(",")[2]))
    assert media.timeline.raw_durations.tolist() == [0.5, 0.5]
    assert page.find("html")[0]["lang"] == "en"
    assert "width=device-width" in page.find("meta", name="viewport")[0]["content"]
    assert "prefers-color-scheme:dark" in page.source
    assert "prefers-reduced-motion" in page.source


def test_text_equivalents(tmp_path):
    """Every number of the charts stands as text; what is drawn is named or hidden from readers."""
    write(tmp_path / "r", [make_result("a.gif"), make_result("b.gif")])
    page = Page(tmp_path / "r" / "index.html")
    row = r'<th scope="row">(\w+)</th><td class="bar[^"]*"[^>]*>(?:<svg.*?</svg></td><td[^>]*>)?([^<]+)'
    rows = re.findall(row, page.source)
    assert dict(rows[:17]) == dict.fromkeys(GIFGIF_17, "not scored") | {
        "happiness": "+0.50",
        "anger": MINUS + "0.50",
        "sadness": MINUS + "0.25",
    }
    # Bars begin at -1, so +0.50 fills three quarters of 200.
    bar = r'<th scope="row">(\w+)</th><td class="bar"><svg.*?<rect x="0" y="1.5" width="([0-9.]+)"'
    widths = re.findall(bar, page.source)
    assert {k: float(v) for k, v in widths[:3]} == {"happiness": 150, "anger": 50, "sadness": 75}
    for svg in page.find("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label")
    labels = [svg["aria-label"] for svg in page.find("svg") if svg.get("role") == "img"]
    assert len(labels) == 2
    assert re.fullmatch(r"Circumplex: valence [+\u2212]\d\.\d\d, arousal [+\u2212]\d\.\d\d", labels[0])
    assert all(image["alt"] for image in page.find("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    targets = {attrs["href"][1:] for _, attrs in page.tags if attrs.get("href", "").startswith("#")}
    assert targets <= set(ids)
    assert {"c1", "c2", "clips"} <= targets
    for element in page.find("label"):
        assert element["for"] in ids


HOSTILE = [
    "<script>alert(1)</script>.gif",
    '"><img src=x onerror=alert(1)>.gif',
    "'); alert(1); ('.gif",
    "</style><script>alert(2)</script>/a.gif",
    "<!--part-->.gif",
    "{{ 7 * 7 }}{% raw %}.gif",
    "javascript:alert(1)/<svg onload=alert(1)>.gif",
    "\u202eexe.gif",
    "\udcff\udcfe.gif",
    "a\nb\0c\x1b[31m.gif",
    "&lt;b&gt;&amp;.gif",
    "x" * 4000 + ".gif",
    "https://example.com/a.gif",
    "",
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_reasons_are_only_text(tmp_path, name, count):
    results = [make_result(name, model=name), make_error(name, f"bad: {name}"), make_result(name)][:count]
    for k, group in enumerate((results, [make_error(name, f"bad: {name}")] * count)):
        folder = tmp_path / f"r{k}"
        write(folder, group)
        page = Page(folder / "index.html")
        assert_inside_itself(page)
        assert "\u202e" not in page.source
        assert "\0" not in page.source
        assert "49{" not in page.text
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        shown = "".join(c if c.isprintable() else "?" for c in text)
        assert shown.rpartition("/")[2] in page.text
        assert len(page.find("article")) == count


def test_a_problem_is_only_text(tmp_path):
    problems = write(tmp_path / "r", [make_result("<b>gone</b>.gif")], source=None)
    assert problems == ["no picture: no such file"]
    page = Page(tmp_path / "r" / "index.html")
    assert page.find("img") == page.find("b") == []
    assert "No picture: no such file" in page.text
    assert "+0.50" in page.text


@pytest.mark.parametrize(
    ("count", "pages"), [(0, 1), (1, 1), (199, 1), (200, 1), (201, 2), (400, 2), (401, 3)]
)
def test_paged_at_200(tmp_path, count, pages):
    write(tmp_path / "r", [make_error(f"{k}.gif") for k in range(count)])
    names = ["index.html", *(f"page-{k}.html" for k in range(2, pages + 1))]
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == sorted(names)
    seen = []
    for k, name in enumerate(names):
        page = Page(tmp_path / "r" / name)
        assert_inside_itself(page)
        seen += [attrs["id"] for attrs in page.find("article")]
        links = {attrs["href"].partition("#")[0] for attrs in page.find("a")} - {""}
        assert {attrs["href"] for attrs in page.find("a", rel="next")} == set(names[k + 1 : k + 2])
        assert {attrs["href"] for attrs in page.find("a", rel="prev")} == set(names[max(0, k - 1) : k])
        assert links <= set(names)
    assert seen == [f"c{k}" for k in range(1, count + 1)]


def test_the_overview_leads_to_the_right_page(tmp_path):
    results = [make_result(f"{k}.gif") for k in range(5)]
    results[3] = make_error("3.gif", "broken")
    write(tmp_path / "r", results, per_page=2)
    page = Page(tmp_path / "r" / "index.html")
    points = [attrs["href"] for attrs in page.find("a", **{"aria-hidden": "true"})]
    assert points == ["#c1", "#c2", "page-2.html#c3", "page-3.html#c5"]
    assert "page-2.html#c4" in [attrs["href"] for attrs in page.find("a")]
    assert "broken" in page.text
    assert "4 of 5 scored, 1 failed." in page.text
    assert re.search(r'pleasure-arousal</th>.*?<td class="number">4</td>', page.source, re.S)
    assert re.search(r'pleasure-sleepiness</th>\s*<td colspan="2">not scored', page.source)


def test_only_errors(tmp_path):
    write(tmp_path / "r", [make_error("a.gif"), make_error("b.gif", "the file is empty")])
    page = Page(tmp_path / "r" / "index.html")
    assert "2 failed" in page.text
    assert "the file is empty" in page.text
    assert page.find("input") == []


def test_face_has_its_own_chart(tmp_path):
    write(tmp_path / "r", [make_face("a.gif"), make_face("b.gif")])
    page = Page(tmp_path / "r" / "index.html")
    assert "Clips by class" in page.text
    assert "Probability of each class" in page.text
    assert "Circumplex" not in page.source
    assert len(page.find("tr", **{"class": "q1 strongest"})) == 2
    assert page.find("img")[0]["alt"] == "Animation of a.gif"


def test_abstained(tmp_path):
    results = [make_result("a.gif", category=None), make_result("b.gif")]
    write(tmp_path / "r", results, abstain=0.7)
    page = Page(tmp_path / "r" / "index.html")
    assert "no category (below 0.7)" in page.text
    assert re.search(r'none</th>.*?<td class="number">1</td>', page.source, re.S)


def test_an_older_report_stays_until_the_new_one_is_whole(tmp_path):
    write(tmp_path / "r", [make_error(f"{k}.gif") for k in range(5)], per_page=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    assert len(before) == 3

    def stop():
        with Report(tmp_path / "r", per_page=2) as report:
            for k in range(3):
                report.add(make_error(f"new {k}"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


def test_pages_of_a_longer_report_go_and_nothing_else(tmp_path):
    write(tmp_path / "r", [make_error(f"{k}.gif") for k in range(6)], per_page=1)
    (tmp_path / "r" / "page-4.html").write_text("<p>mine</p>", encoding="utf-8")
    (tmp_path / "r" / "notes.txt").touch()
    write(tmp_path / "r", [make_error("a.gif"), make_error("b.gif")], per_page=1)
    names = sorted(path.name for path in (tmp_path / "r").iterdir())
    assert names == ["index.html", "notes.txt", "page-2.html", "page-4.html", "page-5.html", "page-6.html"]


def test_the_overview_is_bounded():
    overview = Overview()
    clip = {
        "number": 1,
        "page": "index.html",
        "path": "a",
        "name": "a",
        "key": "q1",
        "chosen": "x",
        "error": None,
    }
    clip |= {"face": None, "scene": None, "is_trace": False}
    clip |= {"category": "x", "facts": [("model", "m")], "classes": [], "is_signed": True}
    clip |= {"has_attention": True, "valence": 0.1, "arousal": 0.05}
    for _ in range(9000):
        overview.add(clip)
        overview.add({**clip, "error": "bad"})
    told = overview.describe()
    assert (told["total"], told["read"], told["failed"], told["placed"]) == (18000, 9000, 9000, 9000)
    assert 1000 <= len(told["points"]) <= 2000
    assert len(told["errors"]) == MOST_ERRORS
    assert told["reach"] == "0.2"


def test_per_page_must_be_positive(tmp_path):
    with pytest.raises(SettingsError, match="per_page"):
        Report(tmp_path, per_page=0)
