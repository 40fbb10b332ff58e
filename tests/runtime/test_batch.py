"""From PATH arguments to inputs."""

import io
import os

import pytest

from moodreel.runtime.batch import collect_paths


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Empty files; only names matter here."""
    for name in [
        "b.gif",
        "a.GIF",
        "notes.txt",
        "sub/c.mp4",
        "sub/deep/d.webp",
        "sub/x.json",
        "other/e.png",
        "zero/",
    ]:
        path = tmp_path / "lib" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_walked_in_order(tree):
    inputs = collect_paths(["lib"])
    assert inputs.paths == [
        "lib/a.GIF",
        "lib/b.gif",
        "lib/other/e.png",
        "lib/sub/c.mp4",
        "lib/sub/deep/d.webp",
    ]
    assert (inputs.skipped, inputs.repeated, inputs.notes) == (2, 0, [])


@pytest.mark.parametrize(("argument", "path"), [("lib/other/", "lib/other/e.png"), (".", "./lib/a.GIF")])
def test_path_is_the_argument_joined(tree, argument, path):
    assert collect_paths([argument]).paths[0] == path


def test_files_named_outright_come_in_the_order_given_whatever_they_are(tree):
    named = ["lib/notes.txt", "lib/absent.gif", "lib/a.GIF"]
    inputs = collect_paths(named)
    assert inputs.paths == named
    assert inputs.skipped == 0


def test_globs(tree):
    assert collect_paths(["lib/*.gif"]).paths == ["lib/b.gif"]
    assert collect_paths(["lib/**/*.web?"]).paths == ["lib/sub/deep/d.webp"]
    assert collect_paths(["li*"]).paths == collect_paths(["lib"]).paths
    inputs = collect_paths(["lib/*.apng", "lib/b.gif"])
    assert (inputs.paths, inputs.notes) == (["lib/b.gif"], ["nothing matches 'lib/*.apng'"])


def test_a_name_with_brackets_is_a_name_first(tree):
    (tree / "what[1].gif").touch()
    assert collect_paths(["what[1].gif"]).paths == ["what[1].gif"]


def test_an_empty_folder_is_noted(tree):
    inputs = collect_paths(["lib/zero"])
    assert (inputs.paths, inputs.notes) == ([], ["no media in 'lib/zero'"])


def test_named_twice_is_read_once(tree):
    inputs = collect_paths(
        ["lib/b.gif", "lib", str(tree / "lib" / "b.gif"), "lib/absent.gif", "./lib/absent.gif"]
    )
    assert inputs.paths[:2] == ["lib/b.gif", "lib/a.GIF"]
    assert inputs.paths.count("lib/absent.gif") == 1
    assert (len(inputs.paths), inputs.repeated) == (6, 3)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_a_list_on_stdin(tree, end):
    content = end.join([b"lib/b.gif", b"", b"lib/other", b"gone [1].gif", b"caf\xe9.gif"]) + end
    inputs = collect_paths(["lib/a.GIF", "-"], io.BytesIO(content))
    assert inputs.paths[:4] == ["lib/a.GIF", "lib/b.gif", "lib/other/e.png", "gone [1].gif"]
    assert os.fsencode(inputs.paths[4]) == b"caf\xe9.gif"


def test_links_are_followed_but_not_round(tree):
    (tree / "lib" / "sub" / "up").symlink_to(tree / "lib")
    (tree / "lib" / "zero" / "there").symlink_to(tree / "lib" / "other")
    (tree / "lib" / "gone.gif").symlink_to(tree / "nowhere.gif")
    paths = collect_paths(["lib"]).paths
    assert paths == [
        "lib/a.GIF",
        "lib/b.gif",
        "lib/gone.gif",
        "lib/other/e.png",
        "lib/sub/c.mp4",
        "lib/sub/deep/d.webp",
        "lib/zero/there/e.png",
    ]


def test_only_regular_files_of_a_folder_count(tree):
    os.mkfifo(tree / "lib" / "pipe.gif")
    inputs = collect_paths(["lib"])
    assert "lib/pipe.gif" not in inputs.paths
    assert inputs.skipped == 3


def test_a_folder_that_cannot_be_listed_is_an_input_that_fails(tree, monkeypatch):
    real = os.scandir

    def refuse(folder):
        if folder == "lib/sub":
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert collect_paths(["lib"]).paths == ["lib/a.GIF", "lib/b.gif", "lib/other/e.png", "lib/sub"]


def test_a_frame_folder_is_walked_and_noted(tree):
    for k in range(3):
        (tree / "lib" / "zero" / f"frame_{k:03}.png").touch()
    inputs = collect_paths(["lib/zero"])
    assert len(inputs.paths) == 3
    assert "may be the frames of one clip" in inputs.notes[0]
