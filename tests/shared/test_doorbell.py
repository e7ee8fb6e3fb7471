"""Ringing is bounded whatever state the broker is in, and goes on by itself when it is back."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from shared import doorbell
from shared.doorbell import Doorbell, ring
from shared.settings import Settings
from shared.tasks import BULK, EVENTS, PROCESS_EVENT, STORE_BATCHES
from tests.broken_broker import BrokerDoor, quiet_broker
from tests.system import wait_until

AT_ONCE_SECONDS = 0.3  # on a busy machine; normally under a millisecond
FIRST_WAIT_SECONDS = 1.5  # the promise is 1 s


@pytest.fixture
def door(settings: Settings, clean: None) -> Iterator[BrokerDoor]:
    with BrokerDoor(settings) as found:
        yield found


@pytest.fixture
def queue(settings: Settings, clean: None) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(quiet_broker(settings).broker) as client:
        client.delete(EVENTS, BULK)
        yield client
        client.delete(EVENTS, BULK)


def timed(ringing: Callable[[], bool]) -> tuple[bool, float]:
    started = time.monotonic()
    return ringing(), time.monotonic() - started


def test_a_ring_is_in_the_broker_when_it_returns(door: BrokerDoor, queue: redis.Redis) -> None:
    assert Doorbell(door.settings).ring(PROCESS_EVENT, wait_seconds=10)
    assert queue.llen(EVENTS) == 1


def test_each_task_goes_to_its_own_queue(door: BrokerDoor, queue: redis.Redis) -> None:
    bell = Doorbell(door.settings)
    assert bell.ring(PROCESS_EVENT, wait_seconds=10)
    assert bell.ring(STORE_BATCHES, wait_seconds=10)
    assert (queue.llen(EVENTS), queue.llen(BULK)) == (1, 1)


@pytest.mark.parametrize("state", ["refuse", "fall_silent"])
def test_a_caller_waits_a_second_at_first_and_nobody_waits_afterwards(door: BrokerDoor, state: str) -> None:
    getattr(door, state)()
    bell = Doorbell(door.settings)
    is_rung, seconds = timed(lambda: bell.ring(PROCESS_EVENT))
    assert not is_rung
    assert seconds < FIRST_WAIT_SECONDS
    for _ in range(20):
        is_rung, seconds = timed(lambda: bell.ring(PROCESS_EVENT))
        assert not is_rung
        assert seconds < AT_ONCE_SECONDS


def test_a_refused_connection_is_known_at_once(door: BrokerDoor) -> None:
    door.refuse()
    assert timed(lambda: Doorbell(door.settings).ring(PROCESS_EVENT))[1] < 0.9


def test_a_broker_that_hangs_between_two_rings_costs_one_wait(door: BrokerDoor) -> None:
    bell = Doorbell(door.settings)
    assert bell.ring(PROCESS_EVENT, wait_seconds=10)
    door.fall_silent()
    assert timed(lambda: bell.ring(PROCESS_EVENT))[1] < FIRST_WAIT_SECONDS
    assert timed(lambda: bell.ring(PROCESS_EVENT))[1] < AT_ONCE_SECONDS


@pytest.mark.parametrize("state", ["refuse", "fall_silent"])
@pytest.mark.parametrize("rung_before", [False, True])
def test_what_was_rung_arrives_when_the_broker_is_back(
    door: BrokerDoor, queue: redis.Redis, state: str, rung_before: bool
) -> None:
    bell = Doorbell(door.settings)
    if rung_before:
        assert bell.ring(STORE_BATCHES, wait_seconds=10)
    getattr(door, state)()
    assert not bell.ring(PROCESS_EVENT)
    door.answer()
    wait_until(lambda: queue.llen(EVENTS), "the ring arrived", seconds=20)
    wait_until(lambda: bell.ring(PROCESS_EVENT), "rings are answered again", seconds=20)


def test_rings_of_many_threads_are_few_messages_and_all_answered(door: BrokerDoor, queue: redis.Redis) -> None:
    bell = Doorbell(door.settings)
    answers: list[bool] = []
    barrier = threading.Barrier(50)

    def ring_together() -> None:
        barrier.wait()
        answers.append(bell.ring(PROCESS_EVENT, wait_seconds=20))

    threads = [threading.Thread(target=ring_together) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 50
    assert 1 <= queue.llen(EVENTS) < 25


def test_many_threads_wait_together_for_a_silent_broker(door: BrokerDoor) -> None:
    door.fall_silent()
    bell = Doorbell(door.settings)
    started = time.monotonic()
    threads = [threading.Thread(target=bell.ring, args=(PROCESS_EVENT,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 2 * FIRST_WAIT_SECONDS


def test_a_full_queue_takes_no_more_and_nothing_is_refused(door: BrokerDoor, queue: redis.Redis) -> None:
    bell = Doorbell(door.settings.model_copy(update={"notification_queue_size": 3}))
    assert all(bell.ring(PROCESS_EVENT, wait_seconds=10) for _ in range(10))
    assert queue.llen(EVENTS) == 3


def _ring_in_child(settings: Settings, answers: multiprocessing.SimpleQueue[bool]) -> None:
    answers.put(Doorbell(settings).ring(PROCESS_EVENT, 10) and ring(PROCESS_EVENT, settings))


def test_a_forked_child_rings_with_a_thread_of_its_own(door: BrokerDoor, queue: redis.Redis) -> None:
    wait_until(lambda: ring(PROCESS_EVENT, door.settings), "the parent rings")
    parents = queue.llen(EVENTS)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with doorbell._lock:  # as another thread of the parent might, at the moment of the fork
        child = context.Process(target=_ring_in_child, args=(door.settings, answers))
        child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get()
    assert queue.llen(EVENTS) == parents + 2
    assert {process_id for process_id, _ in doorbell._doorbells} == {os.getpid()}
    assert ring(PROCESS_EVENT, door.settings)


def test_without_any_broker_a_ring_says_so_and_raises_nothing(settings: Settings, tmp_path: object) -> None:
    nowhere = settings.model_copy(update={"redis_url": None, "broker_url": None, "data_dir": tmp_path})
    assert ring(PROCESS_EVENT, nowhere) is False


def test_an_address_that_no_library_knows_only_leaves_it_to_the_sweep(settings: Settings) -> None:
    unknown = settings.model_copy(update={"broker_url": "nonsense://nowhere"})
    assert timed(lambda: ring(PROCESS_EVENT, unknown))[1] < FIRST_WAIT_SECONDS
    assert not ring(PROCESS_EVENT, unknown)
