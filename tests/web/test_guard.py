"""Who is let in: hosts, tokens, origins, CSRF tokens, rates, sizes; and the headers of every answer."""

import re
from pathlib import Path

import pytest

import moodreel.web.guard as guard
from moodreel.errors import SettingsError
from moodreel.web.guard import Bucket
from moodreel.web.settings import WebSettings
from web.fakes import HOST, draw_clip, open_client, take_csrf

TOKEN = "a-token-of-enough-characters"
WEB = Path(guard.__file__).parent


@pytest.fixture
def client():
    with open_client() as client:
        yield client


@pytest.fixture
def guarded():
    with open_client(token=TOKEN) as client:
        yield client


@pytest.fixture
def upload(tmp_path):
    return {"files": ("a.gif", draw_clip(tmp_path / "a.gif", (255, 0, 0)).read_bytes())}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "", "10.0.0.5"]
)
def test_another_host_name_is_refused(client, host):
    """A page that had its name resolve to this machine (DNS rebinding) sends that name."""
    answer = client.get("/", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]) == (421, "host")


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "127.0.0.1"])
def test_names_of_this_machine_are_served(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_hosts_of_a_server_for_others():
    settings = WebSettings(host="0.0.0.0", token=TOKEN, allowed_hosts=("moods.example",))
    allowed = ["10.0.0.5:8765", "moods.example", "Moods.Example:80", "[fe80::1]:1", "localhost"]
    assert all(settings.allows_host(host) for host in allowed)
    assert not settings.allows_host("evil.example:8765")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_another_address_needs_a_token(host):
    with pytest.raises(SettingsError, match="or a token for anything else"):
        WebSettings(host=host)
    assert WebSettings(host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert WebSettings(host=host).token is None


@pytest.mark.parametrize("token", ["", "short", "with a space in the middle", "ümlaut-ümlaut-ümlaut"])
def test_a_token_is_long_and_plain(token):
    with pytest.raises(SettingsError) as caught:
        WebSettings(token=token)
    assert not token or token not in str(caught.value)  # it is a secret


@pytest.mark.parametrize("field", ["workers", "waiting", "uploads", "files", "file_bytes", "burst"])
def test_settings_are_checked(field):
    with pytest.raises(SettingsError, match=field):
        WebSettings(**{field: 0})


@pytest.mark.parametrize("path", ["/", "/api", "/healthz", "/nothing", "/static/web.css", "/static/none.js"])
def test_every_answer_has_the_headers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == ("no-cache" if path == "/static/web.css" else "no-store")


def test_pages_have_nothing_inline_and_nothing_from_elsewhere():
    """What the policy would refuse, and what would tell others who looks."""
    files = [path for kind in ("templates/*.html", "static/*.*") for path in WEB.glob(kind)]
    assert len(files) >= 12
    for path in files:
        text = path.read_text("utf-8")
        assert not re.search(r"<style|\sstyle=|\son\w+=\"|javascript:", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path
        links = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text)
        assert [link for link in links if "www.w3.org" not in link] == [], path


def test_other_sites_cannot_post(client, upload):
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = client.post("/api/predict", files=upload, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "origin"), headers
    own = {"Origin": HOST, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/predict", files=upload, headers=own).status_code == 200
    assert client.post("/api/predict", files=upload).status_code == 200  # a program says neither


def test_what_changes_something_needs_the_csrf_token(client, upload):
    assert client.post("/api/jobs", files=upload).json()["error"] == "csrf"
    headers = take_csrf(client)
    assert client.post("/api/jobs", files=upload, headers=headers).status_code == 202
    wrong = {"X-CSRF-Token": "0" * 64}
    assert client.post("/api/jobs", files=upload, headers=wrong).status_code == 403
    assert client.delete("/api/jobs/x").status_code == 403
    client.cookies.clear()  # the token of another session
    client.get("/")
    assert client.post("/api/jobs", files=upload, headers=headers).status_code == 403
    client.cookies.clear()
    assert client.post("/api/jobs", files=upload, headers=headers).status_code == 403


def test_cookies_are_for_nobody_else(client):
    cookie = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert cookie.startswith("moodreel_8765=")  # cookies know no ports


def test_without_the_token_there_is_nothing(guarded, upload):
    page = guarded.get("/", follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/token")
    for path in ("/api/models", "/api/library", "/api/votes/counts"):
        assert guarded.get(path).status_code == 401
    assert guarded.post("/api/predict", files=upload).status_code == 401
    assert guarded.get("/openapi.json", follow_redirects=False).status_code == 303
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/static/web.css").status_code == 200


def test_a_program_shows_the_token(guarded, upload):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/api/predict", files=upload, headers=headers).status_code == 200
    assert (
        guarded.post("/api/jobs", files=upload, headers=headers).status_code == 202
    )  # and needs no CSRF token
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", "Bearer ü"):
        assert guarded.get("/api/models", headers={"Authorization": wrong.encode()}).status_code == 401


def test_a_person_types_the_token(guarded):
    answer = guarded.post("/token", data={"token": "not it"})
    assert answer.status_code == 401
    assert "not the token" in answer.text
    answer = guarded.post("/token", data={"token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert TOKEN not in answer.headers["set-cookie"]
    assert guarded.get("/").status_code == 200
    assert guarded.get("/token", follow_redirects=False).headers["location"] == "/"


def test_the_token_in_an_address_goes_into_a_cookie(guarded):
    answer = guarded.get(f"/library?token={TOKEN}&query=a+%3E+0", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/library?query=a%20%3E%200")
    assert guarded.get("/library").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/", "///evil.example"])
def test_the_token_leads_to_no_other_site(guarded, path):
    answer = guarded.get(f"{HOST}{path}?token={TOKEN}", follow_redirects=False)
    place = answer.headers.get("location", "/")
    assert place.startswith("/")
    assert not place.startswith(("//", "/\\"))


def test_tokens_cannot_be_guessed_at_will(guarded):
    codes = [guarded.post("/token", data={"token": "wrong"}).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert guarded.get("/api/models", headers={"Authorization": "Bearer no"}).status_code == 429
    assert guarded.get("/?token=no", follow_redirects=False).status_code == 429


def test_a_client_that_asks_too_much_must_wait(upload):
    with open_client(rate=1, burst=3) as client:
        codes = [client.post("/api/predict", files=upload).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        refused = client.post("/api/predict", files=upload)
        assert refused.json()["error"] == "rate"
        assert 30 < int(refused.headers["retry-after"]) <= 61  # one a minute
        assert client.get("/").status_code == 200


def test_a_bucket_fills_up_with_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    bucket = Bucket(rate=60, burst=2)
    assert [bucket.take("a") for _ in range(3)] == [0, 0, 1.0]
    assert bucket.take("b") == 0
    now[0] += 0.5
    assert bucket.take("a") == pytest.approx(0.5)
    now[0] += 0.5
    assert bucket.take("a") == 0
    now[0] += 1000
    assert [bucket.take("a") for _ in range(3)] == [0, 0, 1.0]
    unbound = Bucket(rate=0, burst=1)
    assert {unbound.take("a") for _ in range(100)} == {0}


def test_a_bucket_forgets_clients(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Bucket, "MOST", 10)
    bucket = Bucket(rate=60, burst=2)
    for k in range(10):
        bucket.take(f"old {k}")
    now[0] = 60.0
    bucket.take("new")
    assert len(bucket._clients) == 1


def test_bodies_of_other_requests_are_small(client):
    headers = {**take_csrf(client), "Content-Type": "application/json"}
    answer = client.post("/api/votes", content=b" " * 70_000, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "limit")
    answer = client.post("/api/votes", content=iter([b" " * 40_000] * 3), headers=headers)
    assert answer.status_code in (404, 405, 413)


def test_errors_are_pages_for_people_and_json_for_programs(client):
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Nothing is here." in page.text
    assert client.get("/nothing").json() == {"error": "not_found", "reason": "nothing is here"}
    assert client.get("/api/nothing", headers={"Accept": "text/html"}).json()["error"] == "not_found"
    assert client.put("/healthz").status_code in (403, 405)


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"])
def test_static_files_are_those_of_their_folder(client, path):
    assert client.get(path).status_code == 404
