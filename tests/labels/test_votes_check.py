"""What is said of votes: coverage, contradictions and voters, against counting by hand and by brute force."""

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodreel.errors import SettingsError
from moodreel.labels.votes import Votes, number_slots
from moodreel.labels.votes_check import LEAST, Coverage, Pair, check_votes, find_parts, sum_binomial


def test_coverage():
    rows = [
        ("joy", "a", "b", "left"),
        ("joy", "a", "c", "neither"),
        ("joy", "c", "a", "left"),
        ("joy", "x", "y", "left"),
        ("anger", "a", "x", "neither"),  # in another emotion the same items are others
    ]
    found = check_votes(Votes.from_rows(rows))
    assert found.votes == 5
    assert found.coverage == (
        Coverage("anger", 1, 1.0, 2, 1, 1.0, 1, 2, 1, 2),
        Coverage("joy", 4, 0.25, 5, 1, 1.0, 3, 5, 2, 3),
    )
    assert found.voters is None


def test_thin_items():
    rows = [("joy", "a", f"b{k % 2}", "left") for k in range(12)]  # a 12, b0 and b1 6
    assert check_votes(Votes.from_rows(rows)).coverage[0].thin == 0
    assert check_votes(Votes.from_rows(rows[:-1])).coverage[0].thin == 1


@settings(max_examples=60)
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=50))
def test_parts_are_those_of_scipy(count, edges):
    sparse = pytest.importorskip("scipy.sparse")
    graph = pytest.importorskip("scipy.sparse.csgraph")
    left = np.array([a % count for a, _ in edges], int)
    right = np.array([b % count for _, b in edges], int)
    part = find_parts(left, right, count)
    matrix = sparse.coo_matrix((np.ones(len(edges)), (left, right)), (count, count))
    _, expected = graph.connected_components(matrix, directed=False)
    for label in set(expected.tolist()):
        members = np.flatnonzero(expected == label)
        assert (part[members] == members[0]).all()


def test_a_long_chain_is_one_part():
    order = np.random.default_rng(0).permutation(5000)
    ends = np.array(list(pairwise(order.tolist())))
    assert (find_parts(ends[:, 0], ends[:, 1], 5000) == 0).all()


def test_contradictions():
    rows = [
        ("joy", "b", "a", "left", "ann"),
        ("joy", "a", "b", "left", "bob"),
        ("joy", "a", "b", "left", "ann"),  # ann said the opposite above
        ("joy", "a", "b", "neither", "ann"),
        ("joy", "a", "c", "left", "ann"),
        ("joy", "c", "a", "right", "bob"),  # the same again
        ("fear", "c", "b", "right", ""),
        ("fear", "b", "c", "right", ""),  # both ways, but nobody knows whether by one
        ("fear", "b", "a", "right", "ann"),  # as in joy, the other way round: no contradiction
        ("fear", "x", "y", "neither", "ann"),
        ("fear", "x", "y", "neither", "ann"),
    ]
    found = check_votes(Votes.from_rows(rows, with_voters=True)).contradictions
    assert (found.pairs, found.repeated, found.contradicted, found.by_one_voter) == (5, 3, 2, 1)
    assert found.worst == (Pair("fear", "b", "c", 1, 1, 0), Pair("joy", "a", "b", 2, 1, 1))
    without = check_votes(Votes.from_rows(rows), worst=1).contradictions
    assert without.by_one_voter is None
    assert len(without.worst) == 1


def test_the_worst_contradiction_comes_first():
    rows = [("joy", "a", "b", choice) for choice in ["left"] * 9 + ["right"]]
    rows += [("joy", "y", "x", choice) for choice in ["left"] * 3 + ["right"] * 2]
    assert check_votes(Votes.from_rows(rows)).contradictions.worst == (
        Pair("joy", "x", "y", 2, 3, 0),
        Pair("joy", "a", "b", 9, 1, 0),
    )


def draw_rows(rng, count, voters, items=30, noise=0.5):
    """Votes of people who see the same order, some of them differently.

    Args:
        voters: name -> "fair", "against", "blind" or "left".
    """
    strength = np.linspace(-1, 1, items)
    rows = []
    for name, kind in voters.items():
        for _ in range(count):
            a, b = rng.choice(items, 2, replace=False).tolist()
            step = strength[a] - strength[b] + rng.normal(0, noise)
            choice = "neither" if abs(step) < 0.1 else "left" if step > 0 else "right"
            if kind == "against":
                choice = {"left": "right", "right": "left"}.get(choice, choice)
            elif kind == "blind":
                choice = str(rng.choice(["left", "right"]))
            elif kind == "left":
                choice = "left"
            rows.append((str(rng.choice(["joy", "fear"])), f"i{a}", f"i{b}", choice, name))
    rng.shuffle(rows)
    return [tuple(row) for row in rows]


def test_who_disagrees_is_found():
    voters = dict.fromkeys([f"fair{k}" for k in range(12)], "fair")
    voters |= {"contrary": "against", "dice": "blind", "thumb": "left"}
    rng = np.random.default_rng(5)
    rows = draw_rows(rng, 150, voters)
    rows += [("joy", "i0", "i29", "left", "guest")] * (LEAST - 1)
    rows += [("joy", "i0", "i29", "neither", "mute")] * 30 + [("joy", "i0", "i1", "left", "")]
    found = check_votes(Votes.from_rows(rows, with_voters=True)).voters
    verdicts = {voter.voter: voter.verdict for voter in found}
    assert verdicts == {
        "contrary": "against", "dice": "guessing", "thumb": "guessing", "guest": "few", "mute": "few",
        **{f"fair{k}": "ok" for k in range(12)},
    }  # fmt: skip
    assert found[0].voter == "contrary"
    assert {voter.voter for voter in found[1:3]} == {"dice", "thumb"}
    assert [voter.verdict for voter in found[-2:]] == ["few", "few"]
    facts = {voter.voter: voter for voter in found}
    assert facts["thumb"].left == 1.0
    assert (facts["mute"].neither, facts["mute"].left, facts["mute"].p_chance) == (1.0, None, None)
    assert facts["contrary"].p_chance < 1e-6
    assert facts["fair0"].p_chance > 0.999
    assert facts["guest"].agreed == 0  # i29 is the strongest, to all others
    json.dumps(asdict(facts["mute"]), allow_nan=False)


def test_nobody_among_equals_is_accused():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = draw_rows(rng, 100, dict.fromkeys("abcdefgh", "fair"))
        found = check_votes(Votes.from_rows(rows, with_voters=True)).voters
        assert {voter.verdict for voter in found} == {"ok"}


def test_comparison_by_brute_force():
    """Every voter's own votes taken out, everything counted again."""
    rows = draw_rows(np.random.default_rng(1), 40, {"a": "fair", "b": "blind", "": "fair", "c": "against"}, 6)
    votes = Votes.from_rows(rows, with_voters=True)
    found = {voter.voter: voter for voter in check_votes(votes).voters}
    assert found.keys() == {"a", "b", "c"}
    pooled = {}
    for name in found:
        net, count = {}, {}
        for emotion, left, right, choice, voter in rows:
            if voter == name:
                continue
            sign = {"left": 1, "right": -1, "neither": 0}[choice]
            for item, gain in ((left, sign), (right, -sign)):
                net[emotion, item] = net.get((emotion, item), 0) + gain
                count[emotion, item] = count.get((emotion, item), 0) + 1
        compared = agreed = 0
        for emotion, left, right, choice, voter in rows:
            ends = (emotion, left), (emotion, right)
            if voter != name or choice == "neither" or not all(end in net for end in ends):
                continue
            one, other = (net[end] / (count[end] + 2) for end in ends)
            if abs(one - other) > 1e-12:
                compared += 1
                agreed += (one > other) == (choice == "left")
        assert (found[name].compared, found[name].agreed) == (compared, agreed)
        pooled[name] = compared, agreed
    others = [pooled[name] for name in "bc"]
    assert found["a"].others == pytest.approx(sum(a for _, a in others) / sum(c for c, _ in others))
    own = [row for row in rows if row[4] == "a"]
    assert found["a"].votes == len(own) == 40
    assert found["a"].neither == pytest.approx(sum(row[3] == "neither" for row in own) / 40)
    lefts, rights = (sum(row[3] == side for row in own) for side in ("left", "right"))
    assert found["a"].left == pytest.approx(lefts / (lefts + rights))


def test_one_voter_alone_cannot_be_compared():
    rows = draw_rows(np.random.default_rng(1), 50, {"only": "fair"})
    (voter,) = check_votes(Votes.from_rows(rows, with_voters=True)).voters
    assert (voter.compared, voter.others, voter.p_chance, voter.verdict) == (0, None, None, "few")


def test_voters_without_names():
    rows = [("joy", "a", "b", "left", "")]
    assert check_votes(Votes.from_rows(rows, with_voters=True)).voters == ()


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.03, 0.5, 0.83, 1.0])
@pytest.mark.parametrize("n", [0, 1, 7, 60, 5000])
def test_binomial_tails_are_those_of_scipy(n, p):
    stats = pytest.importorskip("scipy.stats")
    for hits in sorted({-1, 0, 1, n // 3, n // 2, int(n * p), n - 1, n}):
        if hits <= n:
            expected = stats.binom.cdf(hits, n, p)
            assert sum_binomial(hits, n, p) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_a_probability_is_one():
    with pytest.raises(SettingsError, match=r"^p = 1\.5: expected a probability"):
        sum_binomial(1, 2, 1.5)


def test_no_votes():
    votes = Votes.from_rows([], with_voters=True)
    found = check_votes(votes)
    assert (found.votes, found.coverage, found.voters) == (0, (), ())
    assert found.contradictions.worst == ()
    assert len(number_slots(votes).item) == 0
