"""The rows of KAVAN's Tables 1 and 2, with the paper's numbers, and the orderings that the paper reports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from moodreel.errors import SettingsError
from moodreel.lab.settings import KavanSettings

Kind = Literal["constant", "linear", "network"]


@dataclass(frozen=True)
class AblationRow:
    """One line of the tables.

    Attributes:
        key: its name in files and options.
        paper: its name in the paper; "" for a row that the paper does not have.
        here: its name here; ``{backbone}`` stands for the encoder that is really used.
        kind: what is fitted.
        attention: Eq. 4 to 6 and 10, else the mean over the cells.
        segments: HS-LSTM of the recipe's tiers, else the plain LSTM of the same sizes.
        multi_task: class head and ranking loss, with the recipe's weights.
        keypoints: L_kp, with the recipe's weight.
        accuracy: the paper's Table 1, percent; None where it has no such row.
        nmse: the paper's Table 2, mean and deviation.
        against: key of the row it is compared with: the paper's row before it, or what it varies.
    """

    key: str
    paper: str
    here: str
    kind: Kind = "network"
    attention: bool = False
    segments: bool = False
    multi_task: bool = False
    keypoints: bool = False
    accuracy: float | None = None
    nmse: tuple[float, float] | None = None
    against: str = ""


ROWS: tuple[AblationRow, ...] = (
    AblationRow("mean", "", "Predict the training mean", "constant"),
    AblationRow(
        "histogram",
        "Color Histogram",
        "Color Histogram + OLS",
        "linear",
        nmse=(1.2623, 0.0615),
        against="mean",
    ),
    AblationRow(
        "face",
        "Face Expression",
        "Face Expression (512 features) + OLS",
        "linear",
        nmse=(1.0000, 0.0064),
        against="histogram",
    ),
    AblationRow("face-classes", "", "Face Expression (7 class scores) + OLS", "linear", against="face"),
    AblationRow("face-svm", "", "Face Expression (512 features) + linear SVM", "linear", against="face"),
    AblationRow(
        "lstm", "ResNet-50 + LSTM", "{backbone} + LSTM", accuracy=61.47, nmse=(1.0675, 0.0305), against="face"
    ),
    AblationRow(
        "att-lstm",
        "Soft-Att + LSTM",
        "{backbone} + Soft-Att + LSTM",
        attention=True,
        accuracy=62.55,
        nmse=(1.0100, 0.0085),
        against="lstm",
    ),
    AblationRow(
        "hs-lstm",
        "ResNet-50 + HS-LSTM",
        "{backbone} + HS-LSTM",
        segments=True,
        accuracy=63.55,
        nmse=(1.0277, 0.0147),
        against="att-lstm",
    ),
    AblationRow(
        "att-hs-lstm",
        "Soft-Att + HS-LSTM",
        "{backbone} + Soft-Att + HS-LSTM",
        attention=True,
        segments=True,
        accuracy=65.95,
        nmse=(0.9987, 0.0033),
        against="hs-lstm",
    ),
    AblationRow(
        "att-hs-lstm-kp",
        "",
        "{backbone} + Soft-Att + HS-LSTM, with L_kp",
        attention=True,
        segments=True,
        keypoints=True,
        against="att-hs-lstm",
    ),
    AblationRow(
        "mtl",
        "MTL Soft-Att + HS-LSTM",
        "{backbone} + Soft-Att + HS-LSTM, MTL",
        attention=True,
        segments=True,
        multi_task=True,
        keypoints=True,
        accuracy=68.27,
        nmse=(0.9863, 0.0084),
        against="att-hs-lstm",
    ),
)
"""In the paper's order; those that it does not have stand where they compare."""

WITHHELD = AblationRow(
    "mtl-withheld",
    "",
    "{backbone} + Soft-Att + HS-LSTM, MTL, some keypoints withheld",
    attention=True,
    segments=True,
    multi_task=True,
    keypoints=True,
    against="mtl",
)
"""As ``mtl``, with the keypoints of some training clips withheld; measured for its attention."""

BY_KEY = {row.key: row for row in (*ROWS, WITHHELD)}
"""Every row by its key."""

ACCURACY_ORDER = (
    ("att-lstm", "lstm"),
    ("hs-lstm", "lstm"),
    ("hs-lstm", "att-lstm"),
    ("att-hs-lstm", "att-lstm"),
    ("att-hs-lstm", "hs-lstm"),
    ("mtl", "att-hs-lstm"),
)
"""(better, worse) in the paper's Table 1."""

NMSE_ORDER = (
    ("face", "histogram"),
    ("lstm", "histogram"),
    ("face", "lstm"),
    ("att-lstm", "lstm"),
    ("hs-lstm", "lstm"),
    ("att-lstm", "hs-lstm"),
    ("att-hs-lstm", "att-lstm"),
    ("att-hs-lstm", "hs-lstm"),
    ("face", "att-lstm"),
    ("att-hs-lstm", "face"),
    ("mtl", "att-hs-lstm"),
    ("mtl", "face"),
)
"""(better, worse) in the paper's Table 2."""

BACKBONES = {"compact": "Compact backbone", "paper": "ResNet-50"}
"""Name of each preset's encoder in the tables."""


def name_row(row: AblationRow, model: KavanSettings) -> str:
    """A row's name here, with the encoder that is really used."""
    return row.here.format(backbone=BACKBONES[model.preset])


def settings_of(row: AblationRow, model: KavanSettings) -> KavanSettings:
    """Settings of a network row: the recipe's, without what the row leaves out.

    Raises:
        SettingsError: the recipe itself lacks what the rows compare.
    """
    if len(model.tiers) < 2:
        raise SettingsError("model.tiers", model.tiers, "two tiers or more, or HS-LSTM is the plain LSTM")
    if not model.use_attention:
        raise SettingsError("model.use_attention", False, "true: the rows leave it out by themselves")
    return replace(
        model,
        use_attention=row.attention,
        tiers=model.tiers if row.segments else (1,),
        weight_category=model.weight_category if row.multi_task else 0.0,
        weight_ranking=model.weight_ranking if row.multi_task else 0.0,
        weight_keypoints=model.weight_keypoints if row.keypoints else 0.0,
    )
