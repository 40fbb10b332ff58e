"""The card of a bundle: what it was trained on, how it scores, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moodreel.runtime.schema import BundleInfo

SOURCES = {
    "fer2013": (
        "FER2013 (ICML 2013 challenge): 48x48 grey faces found by web search. Published for research; the "
        "rights of the web images are unclear, none is redistributed. Test: the public test; persons are "
        "unknown."
    ),
    "fer2013_soft": (
        "Training pictures of fer2013, each intensity half the label's and half what the `face` bundle sees "
        "(`python -m moodreel.lab.soft_labels`)."
    ),
    "stills_soft": "Training pictures of stills, their labels softened likewise.",
    "stills": (
        "Press and film stills (muxspace/facial_expressions, repository Apache-2.0) with person ids. The "
        "labels are open, the rights of the photographs unclear, none is redistributed; two raters made 90 % "
        "of the labels. Test: persons that were in no other split."
    ),
    "stills_clips": (
        "The stills of the test persons composed into moving GIFs (`python -m moodreel.lab.data.compose`): "
        "face at 20-100 % of the frame over drawn scenes or other pictures, bystanders, captions. Test only."
    ),
    "stills_clips_val": "Stills of the validation persons composed as for stills_clips. Validation only.",
    "composed_train": (
        "Stills of the training persons composed into moving GIFs (`python -m moodreel.lab.data.compose`, at "
        "most 250 a class)."
    ),
    "composed_val": "The same of the validation persons, at most 60 a class.",
    "toon": (
        "Cartoon clips drawn by this package (`moodreel synth`; docs/toon.md), Apache-2.0. Test: characters "
        "that were in no other split. What is learnt from them is how these cartoons act: for the emotions "
        "that no other source supervises, scores on anything else are a guess."
    ),
    "toon_context": (
        "Cartoon clips drawn by this package (`moodreel synth --context`; docs/toon_context.md), Apache-2.0: "
        "the face, the scene or both decide. Test: characters that were in no other split."
    ),
    "stills_traces_train": (
        "Stills of the training persons composed into clips of 3 to 4 s with traces (`python -m "
        "moodreel.lab.data.compose --traces`): a person's neutral picture blended into an expression and "
        "back, or one picture throughout. The label is weak: its height is the valence of the class name on "
        "the circumplex, not a rating of the picture."
    ),
    "stills_traces": (
        "The same once more, of the training persons, and of others for validation and test: here the place "
        "of eyes and mouth is that of a template in the known box, not found."
    ),
    "stills_traces_val": "The same of the validation persons.",
    "stills_traces_test": "The same of the test persons, who were in no other split. Test only.",
    "emoji": (
        "Google Noto animated emoji (CC BY 4.0), drawn from Lottie, with the human ratings of EmoTag1200 "
        "(MIT). Test: code points that were in no other split. Few rated emoji: scores are uncertain."
    ),
    "emoji_words": (
        "More of the same emoji, which nobody rated, with what the words of their names say, read by us "
        "(`moodreel/lab/data/emoji_words.py`). Weak labels, for training only."
    ),
}
"""What is known of the data sets that our adapters read, by manifest name; others are named only."""

LIMITS = """\
- Not for decisions about people. Expressions are not feelings: a label says what raters saw in a picture. In
  the European Union, emotion recognition at work and in education is prohibited.
- Its raters and subjects are no sample of anybody.
"""


def write_card(info: BundleInfo) -> str:
    """Markdown text of ``card.md``, from what the bundle says of itself."""
    recipe = info.training["recipe"]
    lines = [f"# {info.name} {info.version}", "", _say_what(info, recipe["model"]), "", "## Data", ""]
    sources = info.training["data"]
    shares = recipe["train"]["shares"] if info.system == "kavan" else ()
    for source, share in zip(sources, shares or [1] * len(sources), strict=True):
        name, rows = source["name"], source["rows"]
        learnt = rows["train"] if share else 0
        use = f"{learnt} rows trained on, {rows['val']} for validation, {rows['test']} for the test"
        lines.append(f"- **{name}** ({use}; manifest sha256 {source['sha256'][:12]}).")
        if name in SOURCES:
            lines.append(f"  {SOURCES[name]}")
        if source.get("supervises") and share:
            lines.append(f"  Supervises {', '.join(source['supervises'])}.")
    if info.system == "kavan":
        lines += ["", *_say_supervision(info)]
    elif info.system == "caca-rnn":
        lines += ["", *_say_classes(info)]
    elif info.system == "sta":
        lines += ["", *_say_still_windows(recipe["model"]), *_say_post(info)]
    temperatures = info.training.get("temperature")
    if temperatures:
        values = ", ".join(f"{layer} {value:.3f}" for layer, value in temperatures.items())
        evenly = ", sets weighing the same, few clips less" if "calibrated_on" in info.training else ""
        lines += ["", f"Confidence is scaled by temperatures fitted on validation{evenly}: {values}."]
    train = recipe["train"]
    start = info.training.get("start")
    if start is not None:
        known = start["sha256"][:12]
        lines += ["", f"Started from the weights of `{start['name']}` (sha256 {known})."]
    teachers = info.training.get("teachers")
    if teachers:
        named = ", ".join(f"`{each['name']}` (sha256 {each['sha256'][:12]})" for each in teachers)
        share = f"A share of {recipe['model']['teacher_weight']:.0%} of its loss"
        lines += ["", f"{share} asks for the mean probabilities of {named}."]
    lines += [
        "",
        f"Recipe: {train['epochs']} epochs, batch {train['batch']}, seed {train['seed']}, best epoch "
        f"{info.training['epoch']} by validation. Every setting stands in `bundle.json`.",
        *_say_int8(info),
        "",
        "## Held-out scores",
        "",
    ]
    measured = {k: v for k, v in info.scores.items() if k not in ("headline", "not_measured")}
    for name, reason in info.scores.get("not_measured", {}).items():
        lines += [f"{name}: not measured, {reason}.", ""]
    if not info.scores:
        lines += ["Not measured.", ""]
    if any("calibration_error" in scores for scores in measured.values()):
        lines += [
            "Calibration error: mean gap between confidence and accuracy over ten bins of confidence; by "
            "chance: what as many files show when every confidence is right.",
            "",
        ]
    for name, scores in measured.items():
        lines += _score_section(name, scores)
        if "smile_rises" in scores:
            lines += [_say_smiles(name, scores), ""]
    lines += ["## Limits", "", LIMITS]
    return "\n".join(lines)


def _say_what(info: BundleInfo, model: Mapping[str, Any]) -> str:
    if info.system == "face":
        return "Still-image expression classifier: one face (or a whole frame taken as one) -> 7 classes."
    if info.system == "caca-rnn":
        return (
            "CACA-RNN (Sun, Hsu, Yang, Chien: Context-aware Cascade Attention-based RNN for Video Emotion "
            f"Recognition, ACII Asia 2018), network {model['network']}: the main face of a clip, found and "
            f"followed, beside its scene at {model['fps']:g} frames a second -> one of 8 classes of MEC "
            "2017. "
            "A clip in which no face is found is read by Context-RNN from the scene alone, and says so."
        )
    if info.system == "sta":
        return (
            "STA (Lee, Kim, Kim, Sohn: Spatiotemporal Attention Based Deep Neural Networks for Emotion "
            f"Recognition, ICASSP 2018), network {model['network']}: a face aligned by eyes and nose, "
            f"{model['fps']:g} times a second, {model['input_size']} x {model['input_size']} pixels, "
            f"{model['frames']} at once -> valence along time in [-1, 1]. Its convolutions have "
            f"{', '.join(map(str, model['filters']))} filters (the paper's: 32, 64, 128, 256)."
        )
    look = "facial attention" if model["use_attention"] else "average pooling"
    tiers = tuple(model["tiers"])
    return (
        "KAVAN (Yang, Zhang, Luo: Human-centered emotion recognition in animated GIFs, ICME 2019), preset "
        f"{model['preset']}: {look} and an HS-LSTM of tiers {tiers} over {model['frames']} frames of a clip "
        "-> 17 emotion intensities in [-1, 1], one of 4 circumplex quadrants."
    )


def _say_supervision(info: BundleInfo) -> list[str]:
    absent = [e for e in info.labels.emotions if e not in info.supervised.emotions]
    missing = [q for q in info.labels.categories if q not in info.supervised.categories]
    lines = [f"Supervised emotions: {', '.join(info.supervised.emotions)}."]
    if absent:
        lines.append(f"No source supervised {', '.join(absent)}: these come out as null.")
    if missing:
        lines.append(f"No clip belonged to {', '.join(missing)}: its probability comes out as null.")
    return [
        *lines,
        "An Ekman label gives +1 to its emotion and -1 to the other five; neutral gives -1 to all six.",
    ]


def _say_int8(info: BundleInfo) -> list[str]:
    if "int8" not in info.training:
        return []
    said = info.training["int8"]
    names = ", ".join(source["name"] for source in said["calibration"])
    return [
        "",
        f"In 8 bits: convolutions of the graph with sha256 {said['of'][:12]}, calibrated on {said['clips']} "
        f"training clips ({names}). Training cannot go on from here, only from the bundle it was made of.",
    ]


def _is_ours(info: BundleInfo) -> bool:
    """Whether all it was trained on is known here: no moving face among it that somebody rated."""
    return all(source["name"] in SOURCES for source in info.training["data"])


def _say_classes(info: BundleInfo) -> list[str]:
    """Which source knows each class, so that nobody takes a cartoon's word for a person's."""
    lines = []
    if _is_ours(info):
        lines = [
            "No clip of MEC 2017 / CHEAVD was at hand: these classes are what the sources above call so."
        ]
    for name in info.labels.categories:
        sources = [s["name"] for s in info.training["data"] if name in s.get("supervises", ())]
        if not sources:
            lines.append(f"No source supervised {name}: its probability comes out as null.")
        elif all(source.startswith("toon") for source in sources):
            lines.append(f"**{name}** is learnt from drawn clips alone.")
    return lines


def _say_still_windows(model: Mapping[str, Any]) -> list[str]:
    count = model.get("still_windows", 0)
    if not count:
        return []
    return [
        f"Beside the clips with a trace, {count} windows an epoch are drawn from labelled stills: a person's "
        "neutral picture blended into an expression and back, or one picture throughout. Their valence is "
        "that of the class's name on the circumplex, not a rating of the picture."
    ]


def _say_post(info: BundleInfo) -> list[str]:
    lines = []
    if _is_ours(info):
        lines = [
            "No recording of RECOLA, SEWA or Aff-Wild2 was at hand: nobody rated a moving face for this "
            "bundle."
        ]
    if info.post is None:
        return [*lines, "No post-processing."]
    fitted = info.training["post_validation"]
    return [
        *lines,
        f"Post-processing, fitted on validation and left out by `--raw`: median over "
        f"{info.post.median_s:g} s, then {info.post.scale:.3f} v {info.post.centre:+.3f}; CCC there "
        f"{fitted['ccc_without']:.3f} without it, {fitted['ccc_with']:.3f} with it.",
    ]


def _say_smiles(name: str, scores: Mapping[str, Any]) -> str:
    share, count = scores["smile_rises"], scores["smile_rises_clips"]
    if not name.startswith("stills_traces"):
        return (
            f"Of {count} held-out clips of happiness whose gold standard moves, the trace is higher where "
            f"that is high than where it is low in {share:.0%} (chance: 50 %)."
        )
    return (
        f"Of {count} held-out clips in which a real person's neutral face turns to a smile and back, the "
        f"trace is higher during the smile in {share:.0%} (chance: 50 %)."
    )


def _score_section(name: str, scores: Mapping[str, Any]) -> list[str]:
    lines = [f"### {name}, test split: {scores['clips']} files ({scores['failed']} unreadable)", ""]
    lines += ["| score | value |", "|---|---|"]
    for key, value in scores.items():
        if isinstance(value, float):
            text = f"{value:.3f}"
            if f"{key}_interval" in scores:
                low, high = scores[f"{key}_interval"]
                text += f" (95 %: {low:.3f} to {high:.3f})"
            lines.append(f"| {key.replace('_', ' ')} | {text} |")
    lines.append("")
    if "emotions" in scores:
        columns = ("spearman", "concordance", "nmse", "nmse_of_training_mean", "clips", "others")
        lines += ["| emotion | " + " | ".join(c.replace("_", " ") for c in columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for emotion, row in scores["emotions"].items():
            lines.append(f"| {emotion} | " + " | ".join(_format(row[c]) for c in columns) + " |")
        lines += [
            "",
            "Concordance: share of rightly ordered pairs of clips (for yes-or-no labels the area under the "
            "ROC curve). nMSE: error over the variance of this split's labels. Others: labels that differ "
            f"from the most common one; the means are over {', '.join(scores['mean_over']) or 'none'}.",
            "",
        ]
    for kind, parts in scores.get("slices", {}).items():
        lines += _slice_table(kind, parts)
    if "confusion" in scores:
        lines += ["Row: true class, column: predicted class.", ""]
        names = list(scores["f1"])
        lines += ["| | " + " | ".join(names) + " | F1 |", "|---" * (len(names) + 2) + "|"]
        for name, row in zip(names, scores["confusion"], strict=True):
            cells = " | ".join(map(str, row))
            lines.append(f"| {name} | {cells} | {_format(scores['f1'][name])} |")
        lines.append("")
    return lines


def _slice_table(kind: str, parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in parts.values() for key in row))
    lines = [f"| {kind} | " + " | ".join(c.replace("_", " ") for c in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    lines += [
        f"| {part} | " + " | ".join(_format(row.get(c)) for c in columns) + " |"
        for part, row in parts.items()
    ]
    return [*lines, ""]


def _format(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
