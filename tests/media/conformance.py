"""Adapter for a GIF conformance checker: ``decode(path) -> (frames, delays_ms, loop)``."""

from moodreel.media import read_clip


def decode(path):
    clip = read_clip(path, mode="rgba")
    return list(clip.frames), (clip.raw_durations * 1000).round(6).tolist(), clip.loop
