"""The pygif conformance suite: every file, every pixel.

The suite's .conf files fold an image of zero delay into the next frame; a Clip keeps every image of the
file (design, section 4), so zero-delay images are folded here before comparing. Known exceptions then:

| file             | differs | why                                                                         |
|------------------|---------|-----------------------------------------------------------------------------|
| gif87a-animation | loop    | GIF87a cannot state a loop count; the suite expects "for ever", we say None |
|                  |         | (the file does not say), as for any other file without the extension        |

Files whose .conf lists no frame (unspecified rendering) must give a Clip or a MediaError.
"""

import configparser
from pathlib import Path

import numpy as np
import pytest
from conformance import decode

from moodreel.errors import MediaError
from moodreel.media import open_media, read_clip

EXCEPTIONS = {"gif87a-animation": {"loop"}}


def read_conf(path: Path):
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read(path, encoding="utf-8")
    config = parser["config"]
    frames = []
    for name in filter(None, (part.strip() for part in config.get("frames", "").split(","))):
        section = parser[name]
        pixels = None
        if "pixels" in section:
            raw = (path.parent / section["pixels"]).read_bytes()
            size = (int(config["height"]), int(config["width"]), 4)
            pixels = np.frombuffer(raw, np.uint8).reshape(size)
        frames.append((pixels, int(section["delay"]) * 10 if "delay" in section else None))
    return config, frames


def fold_zero_delays(frames, delays):
    kept = [i for i, delay in enumerate(delays) if delay > 0 or i == len(delays) - 1]
    return [frames[i] for i in kept], [delays[i] for i in kept]


def same(left, right):
    visible = right[..., 3:] > 0
    return (left[..., 3] == right[..., 3]).all() and (left[..., :3] == right[..., :3])[visible[..., 0]].all()


def differences(conf: Path) -> set[str]:
    config, expected = read_conf(conf)
    path = conf.parent / config["input"]
    try:
        frames, delays, loop = decode(path)
    except MediaError:
        return set() if not expected else {"error"}
    if not expected:
        return set()
    if config.get("force-animation") != "yes":
        frames, delays = fold_zero_delays(frames, delays)
    found = set()
    if len(frames) != len(expected):
        return {"frames"}
    for frame, delay, (pixels, wanted) in zip(frames, delays, expected, strict=True):
        if pixels is not None and not (frame.shape == pixels.shape and same(frame, pixels)):
            found.add("pixels")
        if wanted is not None and delay != wanted:
            found.add("delay")
    if {None: "0", 0: "infinite"}.get(loop, str(loop)) != config.get("loop-count", "0"):
        found.add("loop")
    return found


def test_suite_apart_from_known_exceptions(data):
    suite = data("gif_suite")
    names = (suite / "TESTS").read_text().split()
    assert len(names) == 84
    found = {name: differences(suite / f"{name}.conf") for name in names}
    assert {name: what for name, what in found.items() if what} == EXCEPTIONS


def test_any_single_frame_equals_the_same_of_the_full_clip(data):
    # Sampling leaves out images that others replace: that must never show.
    for path in sorted(data("gif_suite").glob("*.gif")):
        try:
            clip = read_clip(path, "rgba")
        except MediaError:
            continue
        for index in range(len(clip)):
            ((_, frame),) = open_media(path).read([index], "rgba")
            assert np.array_equal(frame, clip.frames[index]), (path.name, index)


@pytest.mark.parametrize("name", ["max-size", "zero-size", "zero-width", "zero-height"])
def test_impossible_canvases_are_refused(data, name):
    with pytest.raises(MediaError):
        read_clip(data(f"gif_suite/{name}.gif"))
