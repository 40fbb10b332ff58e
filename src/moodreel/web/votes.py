"""Votes as they are cast: kept in a database, rated live, and written out for ``moodreel votes score``.

Any number of threads and processes may share one store. Votes are added and never changed or deleted: one
that is taken back is marked, so that a request that comes twice finds its vote, taken back or not, and
nothing is cast again. All of a vote is in one transaction, which is on the disk when :meth:`VoteStore.cast`
returns.

Votes of one emotion are numbered in the order in which they are there for all to see: whoever writes one
holds the row of its emotion until the transaction ends. So ratings that follow the numbers are those of the
exported file.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from moodreel.errors import MissingExtra, SettingsError, require
from moodreel.labels.pairs import SHARE, choose_pair
from moodreel.labels.votes import CHOICES, DECIMALS, score_mu
from moodreel.labels.votes_live import LiveVotes
from moodreel.labels.votes_trueskill import IndexArray, TrueSkill
from moodreel.runtime.files import replace_file
from moodreel.web.votes_types import Counts, Pair, Rank, Vote, check_name

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from moodreel.web.votes_schema import Schema

HEADER = ("emotion", "left", "right", "choice", "voter", "time")
"""Columns of an exported file."""

REMEMBERED = 10_000
"""Voters whose last pair is remembered."""

SQL_VARIABLES = 500
"""Names that one statement asks for, at most."""


class VoteStore:
    """The votes of a collection.

    Args:
        place: the file of a SQLite database (made where there is none), or any SQLAlchemy URL, such as
            ``postgresql+psycopg://user@host/votes``.
        share: of pairs that chance alone chooses, 0 to 1.
        settings: what TrueSkill assumes; None for the defaults, which ``votes score`` has.
        seed: of the choice of pairs; None: a new one each time.

    Raises:
        DataError: the database cannot be opened, or is of another version.
        MissingExtra: SQLAlchemy is not installed.
        SettingsError: an argument is wrong.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        share: float = SHARE,
        settings: TrueSkill | None = None,
        seed: int | None = None,
    ) -> None:
        require(0 <= share <= 1, "share", share, "a share, 0 to 1")
        try:
            from moodreel.web.votes_schema import open_engine
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("moodreel"):
                raise
            raise MissingExtra("web", "collecting votes (sqlalchemy)") from error
        self._share = share
        self._settings = settings or TrueSkill()
        self._rng = np.random.default_rng(secrets.randbits(128) if seed is None else seed)
        self._lock = Lock()
        self._live: dict[int, LiveVotes] = {}
        self._shown: OrderedDict[str, frozenset[int]] = OrderedDict()
        self._names: dict[int, str] = {}  # of items, which are never renamed
        self._offered: tuple[int, IndexArray] = (-1, np.empty(0, np.int64))
        self._schema: Schema = open_engine(place)

    def __enter__(self) -> VoteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections to the database."""
        self._schema.engine.dispose()

    @property
    def place(self) -> str:
        """The database's URL, without a password."""
        return self._schema.engine.url.render_as_string(hide_password=True)

    def offer(self, items: Iterable[str], emotions: Iterable[str]) -> None:
        """States what is asked from now on: these items and these emotions, and no others.

        Votes on others stay, count and are exported.

        Args:
            items: paths or other ids, as a file of votes has them.
            emotions: names.

        Raises:
            SettingsError: a name is empty, too long, or no text.
        """
        with self._schema.begin(writes=True) as connection:
            for kind, names in (("item", items), ("emotion", emotions)):
                wanted = list(dict.fromkeys(check_name(kind, name) for name in names))
                self._schema.offer(connection, kind, wanted)
            self._schema.raise_revision(connection)

    @property
    def items(self) -> tuple[str, ...]:
        """What is asked about, in the order in which it came."""
        with self._schema.begin(writes=False) as connection:
            return tuple(name for _, name in self._schema.list_offered(connection, "item"))

    @property
    def emotions(self) -> tuple[str, ...]:
        """What is asked, in the order in which it came."""
        with self._schema.begin(writes=False) as connection:
            return tuple(name for _, name in self._schema.list_offered(connection, "emotion"))

    def next_pair(self, emotion: str, voter: str) -> Pair | None:
        """The next question for a voter: :func:`moodreel.labels.pairs.choose_pair` says how it is chosen.

        Args:
            emotion: one that is offered.
            voter: who is asked; not the pair asked last, nor one answered while others are left.

        Returns:
            None where there is nothing to ask: fewer than two items, or two and they were the last pair.

        Raises:
            SettingsError: the emotion is not offered, or the voter is no name.
        """
        check_name("voter", voter)
        with self._schema.begin(writes=False) as connection:
            emotion_id = self._schema.find(connection, "emotion", emotion)
            last = self._schema.find_last_pair(connection, voter)
            with self._lock:
                live = self._refresh(connection, emotion_id)
                places = self._list_places(connection)
                size = int(places.max(initial=0)) + 1
                mu, variance, _ = live.ratings.get(size)
                answered = live.answered.get(voter, {})
                choice = None
                shown = self._shown.get(voter, frozenset())
                # What was shown but not answered comes again where nothing else is left.
                for barred in ([shown, last], [last]):
                    choice = choice or choose_pair(
                        mu,
                        variance,
                        places,
                        self._rng,
                        share=self._share,
                        answered=answered,
                        barred=barred,
                        settings=self._settings,
                    )
                if choice is None:
                    return None
                self._shown[voter] = frozenset((choice.left, choice.right))
                self._shown.move_to_end(voter)
                while len(self._shown) > REMEMBERED:
                    self._shown.popitem(last=False)
        return Pair(emotion, self._names[choice.left], self._names[choice.right], choice.is_random)

    def cast(
        self, emotion: str, left: str, right: str, choice: str, voter: str, token: str | None = None
    ) -> Vote:
        """Keeps a vote. When this returns, it is on the disk.

        Args:
            emotion: that was asked about.
            left, right: items, as they were shown.
            choice: ``left``, ``right`` or ``neither``.
            voter: who says so.
            token: the client's own name for this vote: a request that is repeated with it casts nothing, and
                gets the vote that it cast.

        Raises:
            SettingsError: an unknown emotion, item or choice, twice the same item, or a token that was used
                for another vote.
            DataError: the database does not take it.
        """
        require(choice in CHOICES, "choice", choice, f"one of {', '.join(CHOICES)}")
        require(left != right, "right", right, "another item than left")
        check_name("voter", voter)
        if token is not None:
            check_name("token", token)
        now = _tell_time()
        with self._schema.begin(writes=True) as connection:
            emotion_id = self._schema.find(connection, "emotion", emotion)
            item_ids = [self._schema.find(connection, "item", item) for item in (left, right)]
            self._schema.hold(connection, emotion_id)
            if token is not None and (held := self._schema.find_token(connection, voter, token)):
                vote = self._make_vote(held, is_new=False)
                if (vote.emotion, vote.left, vote.right, vote.choice) != (emotion, left, right, choice):
                    raise SettingsError("token", token, "one that no other vote has")
                return vote
            number = self._schema.insert(
                connection, emotion_id, item_ids[0], item_ids[1], CHOICES.index(choice), voter, token, now
            )
        return Vote(number, emotion, left, right, choice, voter, now)

    def undo(self, voter: str, number: int | None = None) -> Vote | None:
        """Takes back a voter's last vote, or the one that is named.

        Args:
            voter: whose vote.
            number: of the vote; with it, a request that comes twice takes back one vote and no other.

        Returns:
            The vote; None where the voter has none, or that one is not the voter's.
        """
        now = _tell_time()
        while True:
            with self._schema.begin(writes=True) as connection:
                row = self._schema.find_vote(connection, voter, number)
                if row is None:
                    return None
                if row.undo is not None:
                    return self._make_vote(row, is_new=False)
                if self._schema.mark_undone(connection, row, now):
                    return self._make_vote(row, is_undone=True)
            # Another process took it back in between: look again.

    def counts(self, voter: str | None = None) -> Counts:
        """How many votes there are.

        Args:
            voter: whose own votes to count beside them.
        """
        with self._schema.begin(writes=False) as connection:
            emotions = dict.fromkeys(
                (name for _, name in self._schema.list_offered(connection, "emotion")), 0
            )
            own = dict(emotions) if voter is not None else {}
            emotions |= self._schema.count(connection)
            if voter is not None:
                own |= self._schema.count(connection, voter)
            voters = self._schema.count_voters(connection)
        return Counts(sum(emotions.values()), voters, emotions, own)

    def ranking(self, emotion: str, limit: int | None = None) -> tuple[Rank, ...]:
        """The items that the emotion has votes on, most of it first: the numbers of ``votes score``.

        Args:
            emotion: any that votes may be on.
            limit: how many to return at most.

        Raises:
            SettingsError: there is no such emotion.
        """
        with self._schema.begin(writes=False) as connection:
            emotion_id = self._schema.find(connection, "emotion", emotion)
            with self._lock:
                live = self._refresh(connection, emotion_id)
                mu, variance, votes = live.ratings.get(live.ratings.size)
                named = np.flatnonzero(votes)
                self._learn_names(connection, named.tolist())
                names = [self._names[place] for place in named.tolist()]
                mu, sigma, votes = mu[named], np.sqrt(variance[named]), votes[named]  # copies
        numbers = ((np.round(values, DECIMALS) + 0.0).tolist() for values in (mu, sigma, score_mu(mu)))
        ranks = map(Rank, names, *numbers, votes.tolist())
        return tuple(sorted(ranks, key=lambda rank: (-rank.mu, rank.item))[:limit])

    def export(self, path: str | Path) -> int:
        """Writes the votes that hold as a file for ``moodreel votes score``, in the order that counts there.

        The file takes its name when it is complete.

        Args:
            path: of a CSV file, columns :data:`HEADER`.

        Returns:
            How many votes.

        Raises:
            OSError: the file cannot be written.
        """
        count = 0
        with self._schema.begin(writes=False) as connection, replace_file(Path(path)) as file:
            file.write((",".join(HEADER) + "\n").encode())
            for rows in self._schema.list_votes(connection):
                stream = io.StringIO(newline="")
                plain = csv.writer(stream, lineterminator="\n")
                quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
                for row in rows:
                    cells = (row.emotion, row.left, row.right, CHOICES[row.choice], row.voter, row.time)
                    # of itself the module quotes no carriage return, and takes one for the end of a row
                    (quoted if "\r" in "".join(cells) else plain).writerow(cells)
                count += len(rows)
                file.write(stream.getvalue().encode())
        return count

    def _refresh(self, connection: Connection, emotion_id: int) -> LiveVotes:
        """The emotion's ratings, brought up to what the database holds. The lock is held."""
        live = self._live.setdefault(emotion_id, LiveVotes(self._settings))
        # First how often votes were taken back: what is taken back after this is seen the next time.
        undos = self._schema.count_undos(connection, emotion_id)
        if undos != live.undos:
            live.remove(self._schema.list_undone(connection, emotion_id, live.undos))
            live.undos = undos
        for row in self._schema.list_new(connection, emotion_id, live.last):
            if row.undo is None:
                live.add(row.id, row.left, row.right, row.choice, row.voter)
            live.last = row.id
        return live

    def _list_places(self, connection: Connection) -> IndexArray:
        """The items that are offered. The lock is held."""
        revision = self._schema.find_revision(connection)
        if revision != self._offered[0]:
            offered = self._schema.list_offered(connection, "item")
            self._names.update(offered)
            self._offered = (revision, np.array([number for number, _ in offered], np.int64))
        return self._offered[1]

    def _learn_names(self, connection: Connection, places: list[int]) -> None:
        missing = [place for place in places if place not in self._names]
        for start in range(0, len(missing), SQL_VARIABLES):
            self._names |= self._schema.name_items(connection, missing[start : start + SQL_VARIABLES])

    def _make_vote(self, row: Any, is_new: bool = True, is_undone: bool | None = None) -> Vote:
        undone = row.undo is not None if is_undone is None else is_undone
        choice = CHOICES[row.choice]
        return Vote(row.id, row.emotion, row.left, row.right, choice, row.voter, row.time, undone, is_new)


def _tell_time() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
