"""The tables that votes are kept in, and what is asked of them, in SQLAlchemy's core.

SQLite and PostgreSQL are tested. With SQLite, journal WAL and ``synchronous = FULL``: a transaction is on the
disk when its COMMIT returns, and readers do not wait for writers. Whoever means to write says so at once
(BEGIN IMMEDIATE), so that no transaction has to be tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from moodreel.errors import DataError, SettingsError

VERSION = 1
"""Of the tables below."""

WAIT_S = 30
"""How long a writer waits for another with SQLite."""

CHUNK = 10_000
"""Rows that are Python's at once."""

METADATA = sql.MetaData()

FACTS = sql.Table(
    "moodreel_facts", METADATA, sql.Column("name", sql.Text, primary_key=True), sql.Column("value", sql.Text)
)

ITEMS = sql.Table(
    "moodreel_items",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("name", sql.Text, nullable=False, unique=True),
    sql.Column("offered", sql.Boolean, nullable=False),
    sqlite_autoincrement=True,  # no number is given twice
)

EMOTIONS = sql.Table(
    "moodreel_emotions",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("name", sql.Text, nullable=False, unique=True),
    sql.Column("offered", sql.Boolean, nullable=False),
    sql.Column("undos", sql.Integer, nullable=False, default=0),
    sqlite_autoincrement=True,  # no number is given twice
)

VOTES = sql.Table(
    "moodreel_votes",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("emotion", sql.ForeignKey(EMOTIONS.c.id), nullable=False),
    sql.Column("left", sql.ForeignKey(ITEMS.c.id), nullable=False),
    sql.Column("right", sql.ForeignKey(ITEMS.c.id), nullable=False),
    sql.Column("choice", sql.SmallInteger, nullable=False),
    sql.Column("voter", sql.Text, nullable=False),
    sql.Column("time", sql.Text, nullable=False),
    sql.Column("token", sql.Text),
    # when it was taken back: as which of its emotion, and the time
    sql.Column("undo", sql.Integer),
    sql.Column("undo_time", sql.Text),
    sql.UniqueConstraint("voter", "token"),
    sql.Index("moodreel_votes_emotion", "emotion", "id"),
    sql.Index("moodreel_votes_voter", "voter", "id"),
    sqlite_autoincrement=True,  # no number is given twice
)

KINDS = {"item": ITEMS, "emotion": EMOTIONS}

LEFT, RIGHT = ITEMS.alias("left_item"), ITEMS.alias("right_item")


def open_engine(place: str | Path) -> Schema:
    """Opens a database, and makes the tables where there are none.

    Args:
        place: a file of SQLite, or a URL.

    Raises:
        DataError: it cannot be opened, or its tables are of another version.
        SettingsError: the URL is none, or of a database that forgets.
    """
    text = str(place)
    try:
        is_url = isinstance(place, str) and "://" in text
        url = sql.make_url(text) if is_url else sql.URL.create("sqlite", database=text)
        is_sqlite = url.get_backend_name() == "sqlite"
        if is_sqlite and url.database in (None, "", ":memory:"):
            raise SettingsError("place", text, "a file: votes in memory are lost")
        connect = {"timeout": WAIT_S} if is_sqlite else {}
        engine = sql.create_engine(url, connect_args=connect, pool_pre_ping=not is_sqlite)
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise SettingsError("place", _hide(text), f"a file or a SQLAlchemy URL ({error})") from None
    if is_sqlite:
        _prepare_sqlite(engine)
    schema = Schema(engine)
    with schema.begin(writes=True) as connection:
        if engine.dialect.name == "postgresql":  # two that make the tables at once
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(0x6D6F6F64)))
        METADATA.create_all(connection)
        version = connection.scalar(sql.select(FACTS.c.value).where(FACTS.c.name == "version"))
        if version is None:
            connection.execute(sql.insert(FACTS).values(name="version", value=str(VERSION)))
            connection.execute(sql.insert(FACTS).values(name="revision", value="0"))
        elif version != str(VERSION):
            raise DataError(f"{schema.name}: votes of version {version}, this version reads {VERSION}")
    return schema


def _hide(text: str) -> str:
    """A URL that cannot be read, without what might be a password."""
    return text if "@" not in text else text.partition("://")[0] + "://..."


def _prepare_sqlite(engine: Engine) -> None:
    @sql.event.listens_for(engine, "connect")
    def _set(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Schema:
    """The statements. Methods take the connection of a transaction.

    Attributes:
        engine: to the database.
        name: of the database, without a password.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = engine.url.render_as_string(hide_password=True)

    @contextmanager
    def begin(self, writes: bool) -> Iterator[Connection]:
        """A transaction, committed when the block ends well.

        Raises:
            DataError: the database does not answer, or does not take it.
        """
        try:
            with self.engine.connect().execution_options(writes=writes) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            why = getattr(error, "orig", None) or error
            raise DataError(f"{self.name}: {' '.join(str(why).split())}") from error

    def offer(self, connection: Connection, kind: str, names: Sequence[str]) -> None:
        """States which items or emotions are asked."""
        table = KINDS[kind]
        facts = sql.select(FACTS.c.value).where(FACTS.c.name == "revision").with_for_update()
        connection.execute(facts)  # one at a time
        held = {
            row.name: row.offered for row in connection.execute(sql.select(table.c.name, table.c.offered))
        }
        wanted = set(names)
        changes = [{"named": name, "now": name in wanted} for name in held if held[name] != (name in wanted)]
        if changes:
            change = sql.update(table).where(table.c.name == sql.bindparam("named"))
            connection.execute(change.values(offered=sql.bindparam("now")), changes)
        new = [{"name": name, "offered": True} for name in names if name not in held]
        if new:
            connection.execute(sql.insert(table), new)

    def find_revision(self, connection: Connection) -> int:
        """How often what is offered was changed."""
        return int(connection.scalar(sql.select(FACTS.c.value).where(FACTS.c.name == "revision")) or 0)

    def raise_revision(self, connection: Connection) -> None:
        """Says that what is offered was changed."""
        value = str(self.find_revision(connection) + 1)
        connection.execute(sql.update(FACTS).where(FACTS.c.name == "revision").values(value=value))

    def list_offered(self, connection: Connection, kind: str) -> list[tuple[int, str]]:
        """(id, name) of what is asked."""
        table = KINDS[kind]
        query = sql.select(table.c.id, table.c.name).where(table.c.offered).order_by(table.c.id)
        return [(row.id, row.name) for row in connection.execute(query)]

    def find(self, connection: Connection, kind: str, name: str) -> int:
        """Id of an item or an emotion.

        Raises:
            SettingsError: there is none of that name.
        """
        table = KINDS[kind]
        is_text = "\0" not in name and not any("\ud800" <= c <= "\udfff" for c in name)
        place: int | None = None
        if is_text:
            place = connection.scalar(sql.select(table.c.id).where(table.c.name == name))
        if place is None:
            raise SettingsError(kind, name[:80], f"an {kind} that is voted on")
        return place

    def name_items(self, connection: Connection, places: Sequence[int]) -> dict[int, str]:
        """Id -> name."""
        query = sql.select(ITEMS.c.id, ITEMS.c.name).where(ITEMS.c.id.in_(places))
        return {row.id: row.name for row in connection.execute(query)}

    def hold(self, connection: Connection, emotion: int) -> None:
        """Keeps others from writing votes of the emotion until the transaction ends."""
        query = sql.select(EMOTIONS.c.id).where(EMOTIONS.c.id == emotion).with_for_update()
        connection.execute(query)

    def insert(
        self,
        connection: Connection,
        emotion: int,
        left: int,
        right: int,
        choice: int,
        voter: str,
        token: str | None,
        time: str,
    ) -> int:
        """Adds a vote. Returns its number."""
        values = {"emotion": emotion, "left": left, "right": right, "choice": choice}
        done = connection.execute(sql.insert(VOTES).values(**values, voter=voter, token=token, time=time))
        assert done.inserted_primary_key is not None
        return int(done.inserted_primary_key[0])

    def find_token(self, connection: Connection, voter: str, token: str) -> Any:
        """The vote that a voter cast with a token, or None."""
        query = _select_votes().where(VOTES.c.voter == voter, VOTES.c.token == token)
        return connection.execute(query).one_or_none()

    def find_vote(self, connection: Connection, voter: str, number: int | None) -> Any:
        """A vote of a voter, or the last that was not taken back, or None."""
        query = _select_votes().where(VOTES.c.voter == voter)
        if number is not None:
            query = query.where(VOTES.c.id == number)
        else:
            query = query.where(VOTES.c.undo.is_(None)).order_by(VOTES.c.id.desc()).limit(1)
        return connection.execute(query).one_or_none()

    def mark_undone(self, connection: Connection, row: Any, time: str) -> bool:
        """Takes a vote back; whether it was not yet."""
        self.hold(connection, row.emotion_id)
        undos = self.count_undos(connection, row.emotion_id) + 1
        mark = sql.update(VOTES).where(VOTES.c.id == row.id, VOTES.c.undo.is_(None))
        if not connection.execute(mark.values(undo=undos, undo_time=time)).rowcount:
            return False
        connection.execute(sql.update(EMOTIONS).where(EMOTIONS.c.id == row.emotion_id).values(undos=undos))
        return True

    def find_last_pair(self, connection: Connection, voter: str) -> frozenset[int]:
        """The items of a voter's last vote; empty where there is none."""
        query = sql.select(VOTES.c.left, VOTES.c.right).where(VOTES.c.voter == voter, VOTES.c.undo.is_(None))
        row = connection.execute(query.order_by(VOTES.c.id.desc()).limit(1)).one_or_none()
        return frozenset() if row is None else frozenset((row.left, row.right))

    def count_undos(self, connection: Connection, emotion: int) -> int:
        """How often votes of an emotion were taken back."""
        found = connection.scalar(sql.select(EMOTIONS.c.undos).where(EMOTIONS.c.id == emotion))
        return int(found or 0)

    def list_undone(
        self, connection: Connection, emotion: int, after: int
    ) -> list[tuple[int, int, int, str]]:
        """(number, left, right, voter) of the votes taken back after that many."""
        query = sql.select(VOTES.c.id, VOTES.c.left, VOTES.c.right, VOTES.c.voter)
        query = query.where(VOTES.c.emotion == emotion, VOTES.c.undo > after)
        return [(row.id, row.left, row.right, row.voter) for row in connection.execute(query)]

    def list_new(self, connection: Connection, emotion: int, after: int) -> Iterator[Any]:
        """Yields votes with higher numbers, also those taken back, by number."""
        query = sql.select(VOTES).where(VOTES.c.emotion == emotion, VOTES.c.id > after).order_by(VOTES.c.id)
        yield from connection.execution_options(yield_per=CHUNK).execute(query)

    def list_votes(self, connection: Connection) -> Iterator[Sequence[Any]]:
        """Yields the votes that hold, by number, some at a time."""
        query = _select_votes().where(VOTES.c.undo.is_(None)).order_by(VOTES.c.id)
        yield from connection.execution_options(yield_per=CHUNK).execute(query).partitions()

    def count(self, connection: Connection, voter: str | None = None) -> dict[str, int]:
        """Emotion -> votes that hold, of one voter or of all."""
        query = sql.select(EMOTIONS.c.name, sql.func.count()).join_from(VOTES, EMOTIONS)
        query = query.where(VOTES.c.undo.is_(None))
        if voter is not None:
            query = query.where(VOTES.c.voter == voter)
        return {row[0]: row[1] for row in connection.execute(query.group_by(EMOTIONS.c.name))}

    def count_voters(self, connection: Connection) -> int:
        """How many people have votes that hold."""
        query = sql.select(sql.func.count(VOTES.c.voter.distinct())).where(VOTES.c.undo.is_(None))
        return int(connection.scalar(query) or 0)


def _select_votes() -> Any:
    """Votes with names for ids."""
    query = sql.select(
        VOTES.c.id,
        VOTES.c.emotion.label("emotion_id"),
        EMOTIONS.c.name.label("emotion"),
        LEFT.c.name.label("left"),
        RIGHT.c.name.label("right"),
        VOTES.c.choice,
        VOTES.c.voter,
        VOTES.c.time,
        VOTES.c.undo,
    )
    return query.select_from(
        VOTES.join(EMOTIONS, VOTES.c.emotion == EMOTIONS.c.id)
        .join(LEFT, VOTES.c.left == LEFT.c.id)
        .join(RIGHT, VOTES.c.right == RIGHT.c.id)
    )
