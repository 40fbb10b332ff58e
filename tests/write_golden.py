"""Writes the golden scores of the bundles that ship: run it after a change of a bundle that was meant."""

import json
from pathlib import Path

import moodreel
from moodreel.runtime.bundle import list_bundles

HERE = Path(__file__).parent


def main():
    (HERE / "golden").mkdir(exist_ok=True)
    for name in list_bundles():
        mood = moodreel.load(name)
        scores = {}
        for path in sorted((HERE.parent / "examples").glob("*.gif")):
            result = mood(path)
            given = {**result.emotions, **result.probabilities} or {"valence": result.valence}
            scores[path.name] = {k: None if v is None else round(v, 5) for k, v in given.items()}
        (HERE / "golden" / f"{name}.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {len(scores)} examples")


if __name__ == "__main__":
    main()
