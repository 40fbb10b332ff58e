"""Casts votes from several processes, kills them at random moments, and looks at what was kept.

    python tests/web/kill_votes.py FILE KILLS SEED

Each voter is a process of its own, forked from this one, which has imported everything and opened nothing. A
vote is acknowledged by a line in a pipe after ``cast`` has returned. After each kill every acknowledged vote
must be there as it was acknowledged, once, and what else is there can be no more than one vote a voter, in
flight at the kill. Prints a line of JSON.
"""

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import sqlalchemy.dialects.sqlite  # noqa: F401 (imported before the fork)

from moodreel.web import votes_schema
from moodreel.web.votes import VoteStore

ITEMS = [f"{k}.gif" for k in range(8)]
VOTERS = 3


def vote(place, voter, pipe, seed):
    rng = random.Random(seed)
    with VoteStore(place, seed=seed) as store:
        for number in range(10**6):
            pair = store.next_pair("joy", voter)
            choice = rng.choice(["left", "right", "neither"])
            token = f"{seed}-{number}"
            kept = store.cast("joy", pair.left, pair.right, choice, voter, token)
            is_undone = rng.random() < 0.2
            if is_undone:
                store.undo(voter, kept.number)
            fact = [kept.number, pair.left, pair.right, choice, voter, is_undone]
            os.write(pipe, (json.dumps(fact) + "\n").encode())


def start(place, voter, seed):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.close(reader)
        vote(place, voter, writer, seed)
    finally:
        os._exit(1)


def main():
    place, kills, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    with VoteStore(place) as store:
        store.offer(ITEMS, ["joy"])
    acknowledged = {}
    in_flight = 0
    for kill in range(kills):
        running = [start(place, f"voter {k}", rng.randrange(10**9)) for k in range(VOTERS)]
        ready, _, _ = select.select([reader for _, reader in running], [], [], 60)
        assert ready, "no vote in a minute"
        time.sleep(rng.random() * 0.2)
        for pid, _ in running:
            os.kill(pid, signal.SIGKILL)
        for pid, reader in running:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "a voter failed"
            with os.fdopen(reader) as lines:
                for line in lines:
                    number, *fact = json.loads(line)
                    assert number not in acknowledged, f"{number} was given twice"
                    acknowledged[number] = fact
        in_flight = check(place, acknowledged, VOTERS * (kill + 1))
    print(json.dumps({"kills": kills, "acknowledged": len(acknowledged), "others": in_flight}))


def check(place, acknowledged, most):
    """How many votes are there that nobody acknowledged."""
    with VoteStore(place) as store, store._schema.begin(writes=False) as connection:
        rows = connection.execute(votes_schema._select_votes().order_by(votes_schema.VOTES.c.id)).all()
    held = {row.id: row for row in rows}
    choices = ("left", "right", "neither")
    for number, fact in acknowledged.items():
        row = held.pop(number)
        assert [row.left, row.right, choices[row.choice], row.voter, row.undo is not None] == fact, number
    assert len(held) <= most, f"{len(held)} votes from nowhere"
    return len(held)


if __name__ == "__main__":
    assert Path(sys.argv[1]).parent.is_dir()
    main()
