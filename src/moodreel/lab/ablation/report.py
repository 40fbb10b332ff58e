"""The written report of a study: its tables as Markdown and CSV, with what they do and do not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.lab.ablation.folder import Study
from moodreel.lab.ablation.rows import BACKBONES, BY_KEY
from moodreel.lab.ablation.sheets import count_verdicts, to_csv, to_markdown, write_sheets, write_text
from moodreel.lab.ablation.tables import (
    Line,
    format_accuracy,
    format_attention,
    format_differences,
    format_nmse,
    format_order,
    judge_orders,
    list_lines,
    list_order_differences,
    list_values,
)
from moodreel.lab.evaluate import ENOUGH_OTHER

NOTE_1 = (
    "The paper's text gives 63.55 to Soft-Att + LSTM and 62.55 to ResNet-50 + HS-LSTM, its Table 1 the "
    "reverse; the column shows the table's. Rows without a class head (all but MTL and the SVM) get their "
    "accuracy from the quadrant of their strongest intensity."
)

NO_TABLE = (
    f"No emotion has {ENOUGH_OTHER} test labels that differ from its most common one, so there is no nMSE to "
    "report.\n"
)

NOTE_2 = (
    "nMSE: per emotion the squared error over the variance of the test targets, then the mean over "
    "emotions; predicting the mean of the test targets would give 1. Spearman is the mean over the same "
    "emotions. The paper's best row is 1.4 % below 1."
)


def write_report(study: Study) -> list[Path]:
    """Writes every table (.csv, .md), ``values.csv`` and ``report.md`` into the study's folder.

    Returns:
        the files; the same results give the same bytes.
    """
    results = study.results
    lines = list_lines(study.facts, results)
    tables = {
        "table1": format_accuracy(lines),
        "table2": format_nmse(lines),
        "differences1": format_differences(lines, "accuracy", 100, 2),
        "differences2": format_differences(lines, "nmse", 1, 4),
        "orders": judge_orders(lines),
        "pairs": format_order(study.facts, results),
        "attention": format_attention(study.facts, results),
    }
    written = write_sheets(study.out, tables)
    written.append(write_text(study.out / "values.csv", to_csv(list_values(lines))))
    written.append(write_text(study.out / "report.md", _compose(study, lines, tables)))
    return written


def _compose(study: Study, lines: Sequence[Line], tables: Mapping[str, list[list[str]]]) -> str:
    facts, results = study.facts, study.results
    parts = [f"# Ablation of KAVAN on {facts['name']}", "", *_say_what(facts, results), ""]
    parts += [
        "The paper's numbers were measured on GIFGIF, another data set with other labels: only orderings "
        "can be compared, never the numbers themselves.",
        "",
        "## Table 1: quadrant accuracy",
        "",
        to_markdown(tables["table1"]),
        " ".join([NOTE_1, *_say_size(results)]),
        "",
        "## Table 2: nMSE",
        "",
        to_markdown(tables["table2"]) if len(tables["table2"]) > 1 else NO_TABLE,
        " ".join([NOTE_2, *_say_faces(results)]),
        "",
        "Mean ± sample standard deviation over the splits.",
        "",
    ]
    counts = {len(line.values.get("accuracy", {})) for line in lines}
    parts += ["## Each row against the one before", ""]
    for name, title in (
        ("differences1", "Accuracy, percentage points"),
        ("differences2", "nMSE (less is better)"),
    ):
        if len(tables[name]) > 1:
            parts += [f"{title}:", "", to_markdown(tables[name])]
    parts += [
        f"Differences are paired: same split, same seed. {max(counts, default=0)} splits are few, and "
        "random splits share clips, so the plain t interval is too narrow; the corrected one (Nadeau and "
        "Bengio, 2003) allows for that.",
        "",
    ]
    if len(tables["orders"]) > 1:
        parts += [
            "## What holds here",
            "",
            to_markdown(tables["orders"]),
            count_verdicts([line[2] for line in tables["orders"][1:]]),
            "",
        ]
    if tables["pairs"]:
        parts += ["## Pairs that only order tells apart", "", to_markdown(tables["pairs"])]
        parts += [_say_order(facts, results), ""]
    if tables["attention"]:
        parts += ["## Does attention lie on the face", "", to_markdown(tables["attention"])]
        parts += [_say_attention(facts), ""]
    return "\n".join(parts).rstrip() + "\n"


def _say_what(facts: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the numbers come from, as a list."""
    clips = [result["clips"] for result in results if result["row"] == results[0]["row"]]
    sizes = ", ".join(
        f"{np.mean([part[name] for part in clips]):.0f} {word}"
        for name, word in (("train", "to train on"), ("val", "to validate"), ("test", "to test"))
    )
    lines = [
        f"- Data: {facts['name']}, manifest sha256 {facts['sha256'][:12]}; clips a split: {sizes}. Splits "
        f"are random, groups stay whole (shares {facts['shares']['test']:g} test, "
        f"{facts['shares']['val']:g} validation), seed {facts['seed']}.",
    ]
    for mode, training in facts["training"].items():
        model, train = training["recipe"]["model"], training["recipe"]["train"]
        rates = " or ".join(f"{rate:g}" for rate in training["rates"])
        chosen = ", as validation chooses row by row and split by split" if len(training["rates"]) > 1 else ""
        how = (
            "features of the frozen backbone, computed once at the middle of each segment"
            if mode == "cached"
            else "end to end, frames sampled and changed anew each epoch; rows so named"
        )
        lines.append(
            f"- Trained on {how}: {BACKBONES[model['preset']]}, {model['frames']} frames of "
            f"{model['input_size']} px, hidden size {model['hidden']}, tiers {tuple(model['tiers'])} for "
            f"HS-LSTM and (1,) for LSTM, {train['epochs']} epochs at most, batch {train['batch']}, peak "
            f"rate {rates}{chosen}; w_C {model['weight_category']:g}, w_RANK "
            f"{model['weight_ranking']:g}, w_kp {model['weight_keypoints']:g} where a row has them. The "
            f"epoch with the best {'L_RG' if train['keep_by'] == 'nmse' else 'concordance'} on the "
            "validation clips is kept; the test clips choose nothing."
        )
    seen = (
        ", **which was trained on this data set: it may have seen the test clips**"
        if facts["init_has_seen_data"]
        else ""
    )
    start = (
        facts["init"] or f"{next(iter(facts['training'].values()))['recipe']['model']['backbone_weights']}"
    )
    lines.append(
        f"- Backbone weights: {start} (sha256 {facts['backbone'][:12]}){seen}. The rest starts at random."
    )
    lines.append(
        "- The linear rows have nothing to choose by validation (but the SVM its cost), and are fitted on "
        "training and validation clips; their intensities are clipped to [-1, 1], which the networks' tanh "
        f"keeps by itself. Faces: {facts['faces']}."
    )
    return lines


def _say_size(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """How coarse accuracy is, and whether L_kp had anything to learn from."""
    counts = [result["clips_with_category"] for result in results]
    told = [f"One of {np.mean(counts):.0f} test clips is {100 / np.mean(counts):.1f} percentage points."]
    pointed = [r["train_with_keypoints"] for r in results if "train_with_keypoints" in r]
    if pointed and not any(pointed):
        told.append("No training clip has keypoints: L_kp is 0, and the rows with it have only its name.")
    return told


def _say_faces(results: Sequence[Mapping[str, Any]]) -> list[str]:
    mine = [result for result in results if result["row"] == "face"]
    if not mine:
        return []
    missing = sum(result["without_face"]["test"] for result in mine)
    clips = sum(result["clips"]["test"] for result in mine)
    return [
        f"Clips without a found face: {missing} of {clips} test clips over all splits; there Face "
        "Expression predicts the training mean."
    ]


def _say_order(facts: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    text = (
        "A clip counts as right when the emotion it shows has a higher prediction than its partner; 50 % "
        "is chance. Exact reversals are clips whose programme, run backwards, is one of the partner's."
    )
    for name, interval in list_order_differences(facts, results):
        text += f" {name}: {interval.mean * 100:+.1f} points"
        if interval.count > 1:
            low, high = interval.wide_low * 100, interval.wide_high * 100
            text += f" (corrected 95 % interval {low:+.1f} to {high:+.1f})"
        text += "."
    return text


def _say_attention(facts: Mapping[str, Any]) -> str:
    text = (
        "Over the test frames that have a face by the clip's keypoints. Peak in face: the centre of the "
        "strongest cell lies in the box around the confident points (pointing game); its chance is the "
        "share of cell centres in the box. Mass in face: attention inside the box; its chance, even "
        "attention, is the box's share of the frame."
    )
    if facts["withhold"]:
        text += (
            f" Withheld ({facts['withhold']}): no training clip of that kind showed its keypoints to the row "
            f'"{BY_KEY["mtl-withheld"].here.format(backbone="...")}"; the other rows with L_kp saw them all.'
        )
    return text
