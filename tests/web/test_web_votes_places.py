"""Where votes can be kept, and what is refused."""

import sys

import pytest

from moodreel.errors import DataError, MissingExtra, SettingsError
from moodreel.web.votes import VoteStore
from web.vote_places import EMOTIONS, ITEMS, place_fixture, postgres_fixture, store_fixture  # noqa: F401 (fixtures)


class TestPlaces:
    @pytest.mark.parametrize(
        ("place", "error", "told"),
        [
            ("sqlite://", SettingsError, "a file: votes in memory are lost"),
            ("sqlite:///:memory:", SettingsError, "a file"),
            ("nosuch://host/db", SettingsError, "a file or a SQLAlchemy URL"),
            ("no://[", SettingsError, "SQLAlchemy URL"),
            ("/absent/votes.sqlite", DataError, "unable to open"),
        ],
    )
    def test_wrong_places(self, place, error, told):
        with pytest.raises(error, match=told) as caught:
            VoteStore(place)
        assert "\n" not in str(caught.value)

    def test_a_password_is_not_told(self):
        pytest.importorskip("psycopg")
        with pytest.raises(DataError) as caught:
            VoteStore("postgresql+psycopg://ann:secret@127.0.0.1:1/votes?connect_timeout=2")
        assert "secret" not in str(caught.value)
        with pytest.raises(SettingsError) as wrong:
            VoteStore("nosuch://ann:secret@127.0.0.1:1/votes")
        assert "secret" not in str(wrong.value)

    def test_what_is_no_database(self, tmp_path):
        (tmp_path / "v.csv").write_text("emotion,left,right,choice\n" * 50)
        with pytest.raises(DataError, match=r"v\.csv: file is not a database"):
            VoteStore(tmp_path / "v.csv")
        with pytest.raises(DataError):
            VoteStore(tmp_path)

    def test_another_version(self, place):
        from moodreel.web.votes_schema import FACTS

        with VoteStore(place) as store, store._schema.begin(writes=True) as connection:
            connection.execute(FACTS.update().values(value="7"))
        with pytest.raises(DataError, match="votes of version 7, this version reads 1"):
            VoteStore(place)

    def test_names_that_cannot_be(self, store):
        for bad in ("", " ", "a\0", "\udcff", "x" * 5000):
            with pytest.raises(SettingsError, match="item = "):
                store.offer([*ITEMS, bad], EMOTIONS)
        assert store.items == tuple(ITEMS)
        with pytest.raises(SettingsError, match="share = 2"):
            VoteStore("x", share=2)

    def test_the_extra_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "sqlalchemy", None)
        monkeypatch.delitem(sys.modules, "moodreel.web.votes_schema", raising=False)
        with pytest.raises(MissingExtra, match=r'pip install "moodreel\[web\]"'):
            VoteStore(tmp_path / "v")
