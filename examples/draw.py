"""Draws the example animations: ``python examples/draw.py [DIR]`` (default: this folder).

Toon clips (``moodreel synth``) of a seed that trained nothing, each named after the emotion it acts.
"""

import sys
from pathlib import Path

from moodreel.lab.data.toon_clip import draw_clip
from moodreel.media import write_gif

SEED = 100
CLIPS = {
    "amusement": 122,
    "anger": 154,
    "contentment": 5,
    "embarrassment": 127,
    "excitement": 89,
    "relief": 56,
    "sadness": 91,
    "surprise": 157,
}


def main(folder: Path) -> None:
    for name, number in CLIPS.items():
        clip = draw_clip(SEED, number)
        write_gif(folder / f"{name}.gif", clip.frames, clip.durations)
        print(folder / f"{name}.gif")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
