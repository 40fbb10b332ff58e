"""Toon votes to ratings: the known order of intensities comes back."""

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.labels.votes import Votes, score_votes

toon_raters = pytest.importorskip("moodreel.lab.data.toon_raters", reason="the lab extra is not installed")
stats = pytest.importorskip("scipy.stats")

from moodreel.lab.data.toon_clip import draw_acting  # noqa: E402
from moodreel.lab.data.toon_programmes import score_emotions  # noqa: E402

CLIPS = 85

WEAK = -0.9
"""Below it a clip shows so little that nearly all raters say "neither"."""


@pytest.fixture(scope="module")
def truth():
    """Clip -> emotion -> intensity, as in a toon set, without drawing it."""
    rng = np.random.default_rng(0)
    return {f"{k:05d}": score_emotions(draw_acting(GIFGIF_17[k % 17], rng).strengths) for k in range(CLIPS)}


def recover(truth, votes_a_clip, monkeypatch):
    """Emotion -> Spearman correlation of mu with the truth, over the clips that show some of it."""
    monkeypatch.setattr(toon_raters, "VOTES_A_CLIP", votes_a_clip)
    votes = toon_raters.cast_votes(truth, np.random.default_rng(1))
    ratings = score_votes(Votes.from_rows((v.emotion, v.left, v.right, v.choice) for v in votes))
    assert len(ratings) == CLIPS * 17
    found = {}
    for number, emotion in enumerate(ratings.emotions):
        own = ratings.emotion == number
        known = np.array([truth[ratings.items[item]][emotion] for item in ratings.item[own].tolist()])
        shown = known > WEAK
        assert ratings.score[own][shown].mean() > ratings.score[own][known == -1].mean() + 0.05
        found[emotion] = float(stats.spearmanr(known[shown], ratings.mu[own][shown])[0])
    return found


def test_many_votes_bring_the_order_back(truth, monkeypatch):
    """As many as GIFGIF has, about 60 an item."""
    found = recover(truth, 30, monkeypatch)
    assert found.keys() == set(GIFGIF_17)
    assert min(found.values()) > 0.8
    assert np.mean(list(found.values())) > 0.9


def test_the_votes_of_a_toon_set_bring_most_of_it_back(truth, monkeypatch):
    """Twelve an item, of which more than half are "neither"."""
    found = recover(truth, toon_raters.VOTES_A_CLIP, monkeypatch)
    assert np.mean(list(found.values())) > 0.7
