"""What CACA-RNN read, in words: which face, how much of the clip shows it, which moment counted most.

Text only and no library, for the terminal, the page and the overlay alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy stays out of the verbs that only print
    from moodreel.types import Result, SceneReading


def name_face(result: Result) -> str | None:
    """``face 3``, as the table's ``face_id`` counts; None where no face was read, or the whole frame was."""
    if result.scene is None or result.scene.face is None or result.faces is None:
        return None
    return f"face {result.scene.face}"


def tell_apart(result: Result) -> int | None:
    """The id of the face that was read, but only of a clip with several, where it must be said."""
    return result.scene.face if result.scene is not None and (result.faces or 0) > 1 else None


def tell_scene(result: Result) -> str | None:
    """Faces found, which of them was read and how much of the clip shows it; or why none was.

    Returns:
        One line; None of a result without ``scene``.
    """
    scene = result.scene
    if scene is None:
        return None
    if scene.reason is not None:
        return scene.reason
    if result.faces is None:
        return "the whole frame was taken as the face"
    share = f"in {format_share(scene.share)} of the sampled instants"
    if result.faces == 1:
        return f"1 face found, {share}"
    return f"{result.faces} faces found; read: face {scene.face}, {share}"


def tell_moment(scene: SceneReading) -> str | None:
    """The moment that was attended to most, beside an even share; None where there was no choice."""
    if scene.moments is None or scene.moment_times is None or len(scene.moments) < 2:
        return None
    best = int(scene.moments.argmax())
    share, even = format_share(float(scene.moments[best])), format_share(1 / len(scene.moments))
    return f"most at {float(scene.moment_times[best]):.2f} s: {share} (even share {even})"


def format_share(share: float) -> str:
    """A share from 0 to 1 as per cent; whole ones from 10 on."""
    number = 100 * share
    return f"{number:.0f} %" if number >= 9.95 or number == 0 else f"{number:.1f} %"
