"""Workers: two lanes, a kept worker, bounds."""

import threading
from concurrent.futures import wait

import pytest

from moodreel.errors import SettingsError
from moodreel.web.pool import Pool
from moodreel.web.problems import Problem


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def open_pool(workers, waiting=10):
    return Pool(workers, waiting)


def test_results_and_errors_come_back():
    pool = open_pool(2)
    assert pool.submit(lambda: 7, False).result(5) == 7
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0, True).result(5)
    assert pool.submit(lambda: 8, True).result(5) == 8  # the place of the failed one is free again
    pool.close()


def test_long_work_never_holds_the_last_worker(gate):
    pool = open_pool(3)
    begun = threading.Semaphore(0)
    running = []

    def work():
        running.append(1)
        begun.release()
        gate.wait(10)

    long = [pool.submit(work, True) for _ in range(5)]
    assert begun.acquire(timeout=5)
    assert begun.acquire(timeout=5)
    assert [pool.submit(lambda k=k: k, False).result(5) for k in range(20)] == list(range(20))
    assert len(running) == 2
    gate.set()
    assert not wait(long, 5).not_done
    assert len(running) == 5
    pool.close()


def test_short_work_goes_first(gate):
    pool = open_pool(1)
    order = []
    first = pool.submit(lambda: gate.wait(10), False)
    later = [
        pool.submit(lambda: order.append("long"), True),
        pool.submit(lambda: order.append("short"), False),
        pool.submit(lambda: order.append("short"), False),
    ]
    gate.set()
    wait([first, *later], 5)
    assert order == ["short", "short", "long"]
    pool.close()


def test_what_waits_is_bounded_lane_by_lane(gate):
    pool = open_pool(1, waiting=2)
    begun = threading.Event()
    pool.submit(lambda: (begun.set(), gate.wait(10)), False)
    assert begun.wait(5)
    long = [pool.submit(lambda: 1, True) for _ in range(2)]
    with pytest.raises(Problem, match="2 clips are waiting") as caught:
        pool.submit(lambda: 1, True)
    assert caught.value.status_code == 503
    assert caught.value.headers["Retry-After"]
    short = pool.submit(lambda: 2, False)  # the other lane has room
    gate.set()
    assert [future.result(5) for future in (short, *long)] == [2, 1, 1]
    pool.close()


def test_what_was_cancelled_is_passed_over(gate):
    pool = open_pool(1)
    pool.submit(lambda: gate.wait(10), False)
    done = []
    cancelled = pool.submit(lambda: done.append("cancelled"), True)
    after = pool.submit(lambda: done.append("after"), True)
    assert cancelled.cancel()
    gate.set()
    after.result(5)
    assert done == ["after"]
    pool.close()


def test_a_closed_pool_drops_what_waits(gate):
    pool = open_pool(1)
    begun = threading.Event()
    running = pool.submit(lambda: (begun.set(), gate.wait(10)), False)
    assert begun.wait(5)
    waiting = pool.submit(lambda: 1, False)
    pool.close()
    assert waiting.cancelled()
    with pytest.raises(Problem, match="shutting down"):
        pool.submit(lambda: 1, False)
    gate.set()
    running.result(5)
    for thread in pool._threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"waiting": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError):
        open_pool(**{"workers": 1, **wrong})
