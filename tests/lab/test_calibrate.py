import json

import numpy as np
import pytest
import torch
from torch import nn

from moodreel.lab import metrics
from moodreel.lab.calibrate import REACH, fit_temperature, fold_temperature
from moodreel.lab.data.manifest import Row
from moodreel.lab.slices import ENOUGH_CLIPS, find_face_share, slice_rows


def draw(sharpness, count=20_000):
    """Logits that are ``sharpness`` times those that the labels were drawn from."""
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(count, 4, generator=generator)
    labels = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]
    return logits * sharpness, labels


class TestTemperature:
    @pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
    def test_finds_what_the_logits_were_multiplied_by(self, sharpness):
        assert fit_temperature(*draw(sharpness)) == pytest.approx(sharpness, rel=0.03)

    def test_two_rows_by_hand(self):
        # Logit gap 2; right in 3 of 4 rows: sigmoid(2 / T) = 3/4, so T = 2 / ln 3.
        logits = torch.tensor([[2.0, 0.0]]).repeat(4, 1)
        assert fit_temperature(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(2 / np.log(3), rel=1e-3)

    def test_weights_are_repeated_rows(self):
        logits, labels = draw(2.0, 300)
        often = torch.tensor([1.0, 3.0]).repeat(150)
        repeated = often.long()
        assert fit_temperature(logits, labels, often / 7) == pytest.approx(
            fit_temperature(logits.repeat_interleave(repeated, 0), labels.repeat_interleave(repeated)),
            rel=1e-4,
        )

    def test_stays_in_reach(self):
        sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        assert fit_temperature(sure, torch.tensor([0, 1])) == pytest.approx(1 / REACH, rel=0.01)
        assert fit_temperature(sure, torch.tensor([1, 0])) == pytest.approx(REACH, rel=0.01)
        assert fit_temperature(torch.zeros(0, 4), torch.zeros(0)) == 1.0

    def test_a_class_without_a_source_does_no_harm(self):
        logits, labels = draw(2.0)
        masked = torch.cat([logits, torch.full((len(logits), 1), -torch.inf)], dim=1)
        assert fit_temperature(masked, labels) == pytest.approx(fit_temperature(logits, labels))

    def test_folded_into_a_layer(self):
        layer, x = nn.Linear(5, 3), torch.randn(2, 5)
        expected = layer(x) / 1.7
        fold_temperature(layer, 1.7)
        torch.testing.assert_close(layer(x), expected)


class TestFloor:
    def test_is_what_calibrated_rows_show(self):
        # 25 rows of confidence 1/2, one bin: mean |k/25 - 1/2| of a binomial k.
        from scipy.stats import binom

        k = np.arange(26)
        expected = float((binom.pmf(k, 25, 0.5) * abs(k / 25 - 0.5)).sum())
        floor = metrics.calibration_floor([0.5] * 25, rounds=20_000)
        assert floor == pytest.approx(expected, rel=0.02)

    def test_falls_with_rows(self):
        assert metrics.calibration_floor([0.7] * 10_000) < 0.01 < metrics.calibration_floor([0.7] * 50)
        assert np.isnan(metrics.calibration_floor([]))


class TestSlices:
    def rows(self, folder, boxes):
        rows = []
        for k, box in enumerate(boxes):
            keypoints = None
            if box is not None:
                keypoints = folder / f"{k}.json"
                person = {"box": box, "face_keypoints_2d": [50, 50, 1.0] * 70}
                content = {"width": 100, "height": 200, "frames": [{"people": [person]}, {"people": []}]}
                keypoints.write_text(json.dumps(content))
            rows.append(Row(folder / f"{k}.gif", f"g{k}", keypoints=keypoints))
        return rows

    def test_by_the_share_of_the_frame(self, tmp_path):
        small, large = [10, 20, 30, 60], [0, 0, 100, 150]  # 20 x 40 and 100 x 150 of 100 x 200
        rows = self.rows(tmp_path, [small] * ENOUGH_CLIPS + [None, large] + [[-50, 0, 50, 100]])
        assert find_face_share(rows[0]) == pytest.approx(0.04)
        assert find_face_share(rows[-1]) == pytest.approx(0.25)  # what lies beyond the frame is no face
        assert find_face_share(rows[ENOUGH_CLIPS]) is None
        parts = slice_rows(tmp_path / "manifest.csv", rows)
        assert parts == {"face": {"0% to 5% of the frame": list(range(ENOUGH_CLIPS))}}
