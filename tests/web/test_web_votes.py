"""The store of votes: what is kept, asked, taken back, ranked, exported; by many at once, through kills."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodreel import cli
from moodreel.errors import SettingsError
from moodreel.labels.votes_trueskill import TrueSkill
from moodreel.web.votes import Counts, VoteStore
from web.vote_places import EMOTIONS, ITEMS, place_fixture, postgres_fixture, store_fixture  # noqa: F401 (fixtures)

HERE = Path(__file__).parent


def score(folder, store, capfd, monkeypatch):
    """The rows of the real ``votes score`` over what the store exports."""
    count = store.export(folder / "votes.csv")
    monkeypatch.setattr(sys, "argv", ["moodreel", "votes", "score", str(folder / "votes.csv"),
                                      "--out", str(folder / "scores.csv")])  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert f"from {count} votes" in capfd.readouterr().err
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestVotes:
    def test_a_vote_is_kept(self, store, place):
        vote = store.cast("joy", ITEMS[0], ITEMS[1], "right", "ann", "t1")
        assert (vote.emotion, vote.left, vote.right, vote.choice, vote.voter) == (
            "joy",
            *ITEMS[:2],
            "right",
            "ann",
        )
        assert vote.is_new
        assert not vote.is_undone
        with VoteStore(place) as again:
            assert again.items == tuple(ITEMS)
            assert again.emotions == tuple(EMOTIONS)
            assert again.counts("ann") == Counts(1, 1, {"joy": 1, "fear": 0}, {"joy": 1, "fear": 0})
            assert [rank.item for rank in again.ranking("joy")] == [ITEMS[1], ITEMS[0]]

    def test_a_request_that_comes_twice(self, store):
        first = store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann", "t1")
        again = store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann", "t1")
        assert (again.number, again.time, again.is_new) == (first.number, first.time, False)
        assert store.counts().votes == 1
        for change in (
            ("fear", *ITEMS[:2], "left"),
            ("joy", *ITEMS[1::-1], "left"),
            ("joy", *ITEMS[:2], "right"),
        ):
            with pytest.raises(SettingsError, match="token = 't1': expected one that no other vote has"):
                store.cast(*change, "ann", "t1")
        store.cast("joy", ITEMS[0], ITEMS[1], "right", "bob", "t1")  # another's token
        store.undo("ann")
        assert store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann", "t1").is_undone  # not cast anew
        assert store.counts("ann").votes == 1
        store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann")  # without a token: again is again
        store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann")
        assert store.counts("ann").own["joy"] == 2

    def test_undo(self, store):
        cast = [("joy", "ann"), ("fear", "ann"), ("joy", "bob"), ("joy", "ann")]
        numbers = [store.cast(emotion, *ITEMS[:2], "left", voter).number for emotion, voter in cast]
        taken = store.undo("ann")
        assert (taken.number, taken.is_undone, taken.is_new) == (numbers[3], True, True)
        assert store.undo("ann").number == numbers[1]  # of another emotion
        again = store.undo("ann", numbers[1])
        assert (again.number, again.is_new) == (numbers[1], False)
        assert store.undo("ann", numbers[2]) is None  # bob's
        assert store.counts("ann").own == {"joy": 1, "fear": 0}
        assert store.undo("ann", numbers[0]).is_new
        assert store.undo("ann") is None
        assert store.undo("nobody") is None
        assert store.counts() == Counts(1, 1, {"joy": 1, "fear": 0})

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("hope", *ITEMS[:2], "left", "ann"), "emotion = 'hope': expected an emotion that is voted on"),
            (("joy", "x", ITEMS[1], "left", "ann"), "item = 'x'"),
            (("joy", ITEMS[0], "\0", "left", "ann"), "item = "),
            (("joy", ITEMS[0], "\ud800", "left", "ann"), "item = "),
            (("joy", ITEMS[0], ITEMS[0], "left", "ann"), "expected another item than left"),
            (("joy", *ITEMS[:2], "both", "ann"), "choice = 'both': expected one of left, right, neither"),
            (("joy", *ITEMS[:2], "left", " "), "voter = ' '"),
            (("joy", *ITEMS[:2], "left", "a\0"), "voter = "),
            (("joy", *ITEMS[:2], "left", "\udc80"), "voter = .*UTF-8"),
            (("joy", *ITEMS[:2], "left", "ann", "x" * 5000), "token = "),
        ],
    )
    def test_wrong_votes(self, store, arguments, told):
        with pytest.raises(SettingsError, match=told):
            store.cast(*arguments)
        assert store.counts().votes == 0

    @pytest.mark.parametrize("name", ["'; DROP TABLE moodreel_votes; --", '"', "$1", "%s", ":x", "?", "\\"])
    def test_hostile_names_are_names(self, store, name):
        store.offer([*ITEMS, name], [*EMOTIONS, name])
        store.cast(name, name, ITEMS[0], "left", name, name)
        assert store.ranking(name)[0].item == name
        assert store.counts(name).own[name] == 1
        assert store.undo(name).is_new


class TestPairs:
    def test_pairs_differ_and_are_offered(self, store):
        seen = []
        for number in range(15):
            pair = store.next_pair("joy", "ann")
            assert pair.left != pair.right
            assert {pair.left, pair.right} <= set(ITEMS)
            seen.append(frozenset((pair.left, pair.right)))
            store.cast("joy", pair.left, pair.right, ("left", "neither")[number % 2], "ann")
        assert len(set(seen)) == 15  # all there are, before one comes again
        pair = store.next_pair("joy", "ann")
        assert {pair.left, pair.right} in seen[:-1]

    def test_never_twice_in_a_row(self, store, place):
        store.offer(ITEMS[:3], EMOTIONS)
        before = None
        for number in range(30):
            pair = store.next_pair(EMOTIONS[number % 2], "ann")
            assert frozenset((pair.left, pair.right)) != before
            before = frozenset((pair.left, pair.right))
            if number % 3:
                store.cast(pair.emotion, pair.left, pair.right, "left", "ann")
        store.cast("joy", *ITEMS[:2], "left", "ann")
        for seed in range(12):
            with VoteStore(place, share=1.0, seed=seed) as other:  # knows only the votes
                pair = other.next_pair("fear", "ann")
                assert {pair.left, pair.right} != set(ITEMS[:2])

    def test_two_items(self, store):
        store.offer(ITEMS[:2], EMOTIONS)
        assert store.next_pair("joy", "ann") is not None
        assert store.next_pair("joy", "ann") is not None  # shown, but not answered
        store.cast("joy", *ITEMS[:2], "left", "ann")
        assert store.next_pair("joy", "ann") is None
        assert store.next_pair("joy", "bob") is not None
        store.undo("ann")
        assert store.next_pair("joy", "ann") is not None
        store.offer(ITEMS[:1], EMOTIONS)
        assert store.next_pair("joy", "ann") is None

    def test_what_is_no_longer_offered(self, store):
        store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann")
        store.offer([*ITEMS[2:], "new.gif"], ["joy"])
        assert store.items == (*ITEMS[2:], "new.gif")
        asked = {name for _ in range(40) for name in vars(store.next_pair("joy", "bob")).values()}
        assert not asked & set(ITEMS[:2])
        store.cast("joy", ITEMS[0], ITEMS[1], "left", "ann")  # of a page that was open
        assert [rank.votes for rank in store.ranking("joy")] == [2, 2]
        assert store.counts().emotions == {"joy": 2}
        store.offer(ITEMS, EMOTIONS)
        assert set(store.items) == set(ITEMS)

    def test_a_seed_and_the_share(self, tmp_path):
        asked = []
        for name in "ab":
            with VoteStore(tmp_path / name, seed=4, share=0.5) as store:
                store.offer(ITEMS, EMOTIONS)
                asked.append([store.next_pair("joy", "ann") for _ in range(200)])
        assert asked[0] == asked[1]
        assert 70 < sum(pair.is_random for pair in asked[0]) < 130
        assert 70 < sum(pair.left < pair.right for pair in asked[0]) < 130

    def test_the_least_certain_are_asked(self, tmp_path):
        with VoteStore(tmp_path / "v", seed=4, share=0.0) as store:
            store.offer(ITEMS, EMOTIONS)
            for k in range(30):
                store.cast("joy", ITEMS[k % 5], ITEMS[(k + 1) % 5], "neither", "ann")
            for _ in range(10):
                pair = store.next_pair("joy", "bob")
                assert ITEMS[5] in (pair.left, pair.right)
            assert Counter(store.next_pair("fear", "bob").left for _ in range(60)).keys() == set(ITEMS)

    def test_wrong_questions(self, store):
        for emotion, voter in (("hope", "ann"), ("joy", "")):
            with pytest.raises(SettingsError):
                store.next_pair(emotion, voter)


def check_ranking(store, rows):
    """The store's live ranking against the file of ``votes score``."""
    for emotion in {row["emotion"] for row in rows}:
        ours = [(rank.item, rank.votes) for rank in store.ranking(emotion)]
        theirs = [row for row in rows if row["emotion"] == emotion]
        assert ours == [(row["item"], int(row["votes"])) for row in theirs]
        for rank, row in zip(store.ranking(emotion), theirs, strict=True):
            for name in ("mu", "sigma", "score"):
                assert getattr(rank, name) == pytest.approx(float(row[name]), abs=2e-9)


class TestRanking:
    def test_the_numbers_of_votes_score(self, store, place, tmp_path, capfd, monkeypatch):
        import random

        rng = random.Random(5)
        with VoteStore(place) as other:
            for step in range(120):
                which = rng.choice([store, other])  # two processes would have two stores
                emotion, voter = rng.choice(EMOTIONS), rng.choice(["ann", "bob", "cy"])
                if rng.random() < 0.2:
                    which.undo(voter)
                else:
                    which.cast(
                        emotion, *rng.sample(ITEMS, 2), rng.choice(["left", "right", "neither"]), voter
                    )
                if step % 7 == 0:
                    which.ranking(emotion)
            rows = score(tmp_path, store, capfd, monkeypatch)
            check_ranking(store, rows)
            check_ranking(other, rows)
            with VoteStore(place) as fresh:
                check_ranking(fresh, rows)
                assert [rank.mu for rank in fresh.ranking("joy")] == [
                    rank.mu for rank in store.ranking("joy")
                ]
        assert store.ranking("joy", limit=2) == store.ranking("joy")[:2]

    def test_nothing_to_rank(self, store, tmp_path):
        assert store.ranking("joy") == ()
        assert store.export(tmp_path / "votes.csv") == 0
        assert (tmp_path / "votes.csv").read_bytes() == b"emotion,left,right,choice,voter,time\n"
        with pytest.raises(SettingsError, match="emotion = 'hope'"):
            store.ranking("hope")

    def test_other_settings(self, tmp_path):
        with VoteStore(tmp_path / "v", settings=TrueSkill(mu=0.0)) as store:
            store.offer(ITEMS, EMOTIONS)
            store.cast("joy", *ITEMS[:2], "left", "ann")
            assert sum(rank.mu for rank in store.ranking("joy")) == pytest.approx(0.0, abs=1e-9)


letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


names = st.text(letters, min_size=1, max_size=12).filter(lambda text: text.strip() != "")


@pytest.fixture(scope="module")
def one_store(tmp_path_factory):
    with VoteStore(tmp_path_factory.mktemp("store") / "votes.sqlite") as opened:
        yield opened


@settings(max_examples=60)
@given(st.lists(names, min_size=2, max_size=2, unique=True), names, names)
def test_any_name_comes_back_from_the_file(one_store, items, emotion, voter):
    from moodreel.labels.votes_table import read_votes

    one_store.offer(items, [emotion])
    one_store.cast(emotion, *items, "left", voter)
    with tempfile.TemporaryDirectory() as folder:
        assert one_store.export(f"{folder}/votes.csv") == 1
        held = read_votes(f"{folder}/votes.csv")
    one_store.undo(voter)
    assert held.bad == ()
    votes = held.votes
    assert (votes.emotions, set(votes.items), votes.voters) == ((emotion,), set(items), (voter,))


def test_export_replaces_and_keeps(store, tmp_path):
    store.cast("joy", *ITEMS[:2], "neither", "ann, the first")
    target = tmp_path / "votes.csv"
    target.write_text("old")
    assert store.export(target) == 1
    with target.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["voter"], row["choice"], row["time"][-1]) == ("ann, the first", "neither", "Z")
    with pytest.raises(OSError, match="absent"):
        store.export(tmp_path / "absent" / "votes.csv")


def run_together(count, act):
    """Runs ``act(k)`` in threads of their own; none may fail."""
    errors = []

    def run(k):
        try:
            act(k)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


class TestManyAtOnce:
    def test_threads(self, store, tmp_path, capfd, monkeypatch):
        def vote(voter):
            for number in range(12):
                pair = store.next_pair(EMOTIONS[number % 2], voter)
                for _ in range(2):  # each request twice
                    store.cast(pair.emotion, pair.left, pair.right, "left", voter, f"t{number}")
                if number % 5 == 4:
                    store.undo(voter)
                store.ranking("joy")

        run_together(6, lambda k: vote(f"voter {k}"))
        assert store.counts().votes == 6 * (12 - 2)
        check_ranking(store, score(tmp_path, store, capfd, monkeypatch))

    def test_one_token_from_all_sides(self, store):
        kept = []
        run_together(8, lambda _: kept.append(store.cast("joy", *ITEMS[:2], "left", "ann", "t")))
        assert store.counts().votes == 1
        assert sum(vote.is_new for vote in kept) == 1
        undone = []
        threads = [
            threading.Thread(target=lambda: undone.append(store.undo("ann", kept[0].number)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(vote.is_new for vote in undone) == 1

    def test_processes(self, store, place, tmp_path, capfd, monkeypatch):
        code = (
            "import sys\n"
            "from moodreel.web.votes import VoteStore\n"
            "with VoteStore(sys.argv[1]) as store:\n"
            "    for number in range(15):\n"
            "        pair = store.next_pair('joy', sys.argv[2])\n"
            "        store.cast('joy', pair.left, pair.right, 'right', sys.argv[2])\n"
            "        if number % 5 == 4: store.undo(sys.argv[2])\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
        running = [
            subprocess.Popen([sys.executable, "-c", code, str(place), f"voter {k}"], env=environment)
            for k in range(3)
        ]
        while any(process.poll() is None for process in running):
            store.ranking("joy")  # while it changes
            store.next_pair("joy", "ann")
        assert [process.returncode for process in running] == [0, 0, 0]
        assert store.counts().votes == 3 * 12
        check_ranking(store, score(tmp_path, store, capfd, monkeypatch))


def test_no_vote_is_lost_at_a_kill(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, str(HERE / "kill_votes.py"), str(tmp_path / "votes.sqlite"), "20", "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 20
    assert found["acknowledged"] >= 20


def test_sqlite_writes_through(tmp_path):
    with VoteStore(tmp_path / "v.sqlite") as store, store._schema.begin(writes=True) as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2: FULL
