"""The pages in a real browser: headless Chromium, driven by Playwright."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from moodreel.media import open_media
from moodreel.runtime.table import list_columns, make_row, open_table
from moodreel.web.serve import list_models
from moodreel.web.votes import VoteStore
from web.fakes import run_server

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIP = EXAMPLES / "excitement.gif"
PAGES = {"/": "What is felt", "/library": "moods.parquet", "/vote": "Which shows more", "/api": "API"}
PHONE = {"width": 390, "height": 844}
WAIT = 30_000


def find_chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("MOODREEL_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser():
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"Chromium does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    return tmp_path_factory.mktemp("votes") / "votes.sqlite"


@pytest.fixture(scope="module")
def site(tmp_path_factory, votes):
    """A real server over the examples: the model that ships, their table, votes."""
    models = list_models(["kavan"], workers=2)
    table = tmp_path_factory.mktemp("library") / "moods.parquet"
    mood = models["kavan"]._recognizer
    columns = list_columns("kavan")
    with open_table(table, columns) as writer:
        for result in mood.map(sorted(EXAMPLES.glob("*.gif")), workers=1):
            writer.write(make_row(result, columns))
    with run_server(models, table=table, media=EXAMPLES, votes=str(votes), file_bytes=1 << 20) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(browser, site):
    """A page that must not log an error, nor ask anyone else for anything."""
    context = browser.new_context(viewport={"width": 1240, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.base = site
    page.logged = []
    page.on("console", lambda message: page.logged.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    page.foreign = foreign = []
    page.on("request", lambda request: request.url.startswith((site, "blob:")) or foreign.append(request.url))
    yield page
    context.close()
    assert page.logged == []
    assert foreign == []


def expect_error(page, status):
    """The browser itself logs an answer that is an error."""
    page.logged[:] = [line for line in page.logged if f"status of {status}" not in line]


@pytest.mark.parametrize(("path", "heading"), PAGES.items())
def test_every_page_opens_and_fits_a_phone(page, path, heading):
    page.goto(page.base + path)
    assert heading in page.locator("h1").inner_text()
    assert page.locator("nav [aria-current=page]").count() == 1
    page.set_viewport_size(PHONE)
    page.wait_for_load_state("networkidle")
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"


def test_a_clip_is_looked_at(page):
    page.goto(page.base)
    page.set_input_files("#files", CLIP)
    panel = page.locator(".model")
    panel.wait_for()
    assert panel.locator(".scores tbody th[scope=row]").count() == 17
    assert "pleasure-arousal" in panel.locator(".chosen").inner_text()
    assert panel.locator(".circle").get_attribute("aria-label").startswith("Circumplex: valence +")
    starts = open_media(CLIP).timeline.starts
    scrub = page.locator(".scrub")
    scrub.focus()
    # from picture to picture at the file's own times
    scrub.evaluate("(bar) => { bar.value = 0; bar.dispatchEvent(new Event('input')) }")
    for index in (1, 2, 3):
        page.keyboard.press("ArrowRight")
        told = f"{starts[index]:.2f} of 2.86 s, picture {index + 1} of {len(starts)}"
        assert scrub.get_attribute("aria-valuetext") == told
    page.keyboard.press("ArrowLeft")
    page.locator("canvas[data-shown='2']").wait_for()
    read = """() => { const { width, height } = document.querySelector("canvas");
        const { data } = document.querySelector("canvas").getContext("2d").getImageData(0, 0, width, height);
        return data.reduce((sum, value) => sum + value, 0) }"""
    with_heat = page.evaluate(read)
    page.locator(".attend").uncheck(force=True)
    for _ in range(100):
        if page.evaluate(read) != with_heat:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(read) != with_heat
    page.locator(".play").click()
    assert page.locator(".play").inner_text().strip() == "Pause"
    page.locator("canvas:not([data-shown='2'])").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    saved = json.loads(Path(download.value.path()).read_text("utf-8"))
    row = saved["results"][0]
    assert (row["path"], row["frames"], row["category"]) == ("excitement.gif", 26, "pleasure_arousal")
    assert len(row["frame_times"]) == len(row["attention"]["maps"]) == 8
    with page.expect_download() as download:
        page.get_by_role("button", name="Overlay GIF").click()
    overlay = open_media(Path(download.value.path()))
    assert overlay.timeline.starts.tolist() == starts.tolist()


def test_several_clips_are_dropped_and_pasted(page):
    page.goto(page.base)
    page.evaluate(
        """() => { const files = new DataTransfer();
        for (const name of ["one.txt", "two.txt"]) files.items.add(new File(["no picture"], name));
        dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
        const pasted = new DataTransfer();
        pasted.items.add(new File(["neither"], "three.txt"));
        dispatchEvent(new ClipboardEvent("paste", { clipboardData: pasted, cancelable: true })) }"""
    )
    reasons = page.locator(".reading > .reason:visible")
    reasons.nth(2).wait_for()
    assert [text[:9] for text in reasons.all_inner_texts()] == ["Not a GIF"] * 3
    assert sorted(page.locator(".name").all_inner_texts()) == ["one.txt", "three.txt", "two.txt"]
    page.get_by_role("button", name="Remove one.txt").click()
    assert page.locator(".reading").count() == 2


def test_what_is_too_large_is_not_even_sent(page, tmp_path):
    large = tmp_path / "large.gif"
    large.write_bytes(b"GIF89a" + bytes(1 << 20))
    page.goto(page.base)
    page.set_input_files("#files", large)
    reason = page.locator(".reading > .reason")
    reason.wait_for()
    assert reason.inner_text() == "Larger than 1 MB."


def test_a_search(page):
    page.goto(f"{page.base}/library")
    found = page.locator("#found")
    page.locator("#found:has-text('8 rows')").wait_for()
    page.locator(".frame.there").nth(7).wait_for()
    page.fill("#query", "excitement > 0")
    page.locator("#found:has-text('1 row')").wait_for()
    assert page.locator(".cell b").all_inner_texts() == ["excitement.gif"]
    assert "query=excitement" in page.url
    page.fill("#query", "excitemnt > 0")
    says = page.locator("#query-says:has-text('no such column')")
    says.wait_for()
    assert "did you mean excitement" in says.inner_text()
    expect_error(page, 422)
    page.goto(f"{page.base}/library?query=excitemnt")  # an address that was kept may be wrong too
    page.locator("#found:has-text('No search yet')").wait_for()
    expect_error(page, 422)
    page.locator("#clear").click()
    page.locator("#found:has-text('8 rows')").wait_for()
    page.locator(".open", has_text="excitement.gif").click()
    page.locator("dialog .scores").wait_for()
    page.get_by_role("button", name="More like this").click()
    page.locator("#mode:has-text('nearest first to excitement.gif')").wait_for()
    page.locator("#found:has-text('7 rows')").wait_for()
    page.reload()  # the address says it all
    page.locator("#found:has-text('7 rows')").wait_for()
    page.locator("#mode button").click()
    page.locator("#found:has-text('8 rows')").wait_for()
    page.locator(".map svg").click(position={"x": 190, "y": 90})
    page.locator("#mode:has-text('nearest first to valence 0.')").wait_for()
    assert found.inner_text() == "8 rows"
    page.locator("#clear").click()
    page.locator("label.chip", has_text="misery-arousal").click()
    page.locator("#found:not(:has-text('8 rows'))").wait_for()
    page.locator("#sliders summary").click()
    slider = page.get_by_label("happiness, at least")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_url(re.compile("range=happiness%3A"))


def tally(page, own):
    page.locator(f"#tally:has-text('Your votes: {own} on happiness')").wait_for()


def test_a_vote(page, votes):
    """By key, by click, taken back; and one whose way to the server was cut is sent again."""
    page.goto(f"{page.base}/vote?emotion=happiness")
    page.locator("#left:enabled").wait_for()
    page.keyboard.press("ArrowLeft")
    tally(page, 1)
    page.locator("#right:enabled").click()
    tally(page, 2)
    page.locator("#neither:enabled").wait_for()
    page.keyboard.press("u")
    tally(page, 1)
    page.locator("#left:enabled").wait_for()
    assert page.locator("#ranks tr").count() == 2
    cut = []
    page.route(
        "**/api/votes",
        lambda route: route.continue_() if cut else (cut.append(1), route.abort()),
    )
    page.keyboard.press("ArrowDown")
    page.locator("#says:has-text('kept in this browser')").wait_for()
    page.reload()  # the page is gone, and what it held with it
    tally(page, 2)
    page.logged[:] = [line for line in page.logged if "ERR_FAILED" not in line]
    with VoteStore(votes) as store:
        counts = store.counts()
    assert counts.emotions["happiness"] == 2


def test_the_token_is_asked_for(page):
    with run_server(list_models(["kavan"], workers=2), token="a-token-of-enough-characters") as port:
        page.goto(f"http://127.0.0.1:{port}/library")
        page.get_by_label("This server asks for its token").fill("something-else-altogether")
        page.keyboard.press("Enter")
        page.locator("text=That is not the token.").wait_for()
        expect_error(page, 401)
        page.locator("#token").fill("a-token-of-enough-characters")
        page.keyboard.press("Enter")
        page.locator("h1:has-text('What is felt')").wait_for()
        page.set_input_files("#files", CLIP)
        page.locator(".model").wait_for()
        page.foreign[:] = [url for url in page.foreign if f"127.0.0.1:{port}/" not in url]


def test_an_error_page(page):
    page.goto(f"{page.base}/nothing")
    assert "Nothing is here." in page.locator("main").inner_text()
    expect_error(page, 404)
