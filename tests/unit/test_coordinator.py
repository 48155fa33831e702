"""`dfc.train.Coordinator`: threads stop together, and one error is raised, once, where they are waited for."""

from __future__ import annotations

import _thread
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import dfc
from dfc.errors import Aborted, Cancelled, DeadlineExceeded, InvalidArgument, OutOfRange
from dfc.train import Coordinator
from tests.waiting_support import Client


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if thread.name != "dfc-worker"} - before
    assert not left


def started(*works: Callable[[], Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True, name=f"worker {k}") for k, work in enumerate(works)]
    for thread in threads:
        thread.start()
    return threads


def test_all_stop_when_one_asks() -> None:
    coordinator, done = Coordinator(), list[int]()

    def work() -> None:
        while not coordinator.wait_for_stop(0.01):
            pass
        done.append(1)

    threads = started(work, work, lambda: coordinator.wait_for_stop() and done.append(2))
    assert not coordinator.should_stop()
    coordinator.request_stop()
    coordinator.join(threads)
    assert coordinator.should_stop() and coordinator.joined
    assert sorted(done) == [1, 1, 2]


def test_join_waits_for_threads_that_nobody_stops() -> None:
    coordinator, done = Coordinator(), list[int]()
    threads = started(lambda: time.sleep(0.1), lambda: done.append(1))
    coordinator.join(threads)
    assert done == [1] and not coordinator.should_stop()
    assert not any(thread.is_alive() for thread in threads)


def test_join_waits_for_registered_threads() -> None:
    coordinator, release = Coordinator(), threading.Event()
    (thread,) = started(release.wait)
    coordinator.register_thread(thread)
    coordinator.register_thread(thread)
    client = Client(lambda: coordinator.join([]))
    time.sleep(0.1)
    assert client.waits
    release.set()
    client.result()


def test_the_first_error_is_raised_with_its_traceback() -> None:
    coordinator = Coordinator()

    def fails() -> None:
        with coordinator.stop_on_exception():
            raise ZeroDivisionError("the first")

    def fails_later() -> None:
        with coordinator.stop_on_exception():
            coordinator.wait_for_stop()
            raise ValueError("because of the first")

    threads = started(fails_later, fails)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="the first") as caught:
            coordinator.join(threads)
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames.count("fails") == 1, "once, however often it is raised"


def test_an_error_after_a_stop_was_requested_is_no_news() -> None:
    coordinator = Coordinator()
    coordinator.request_stop()
    coordinator.request_stop(Cancelled("because of the stop"))
    coordinator.join([])


def test_clean_errors_stop_and_are_no_failure() -> None:
    coordinator = Coordinator()

    def work() -> None:
        with coordinator.stop_on_exception():
            raise OutOfRange("the queue is closed and empty")

    coordinator.join(started(work))
    assert coordinator.should_stop()


@pytest.mark.parametrize("clean", [Aborted, (Aborted, ZeroDivisionError), ()])
def test_which_errors_are_clean_can_be_chosen(clean: Any) -> None:
    coordinator = Coordinator(clean_stop_exceptions=clean)
    coordinator.request_stop(Aborted("by others"))
    if clean == ():
        with pytest.raises(Aborted):
            coordinator.join()
    else:
        coordinator.join()
    coordinator.clear_stop()
    coordinator.request_stop(OutOfRange("the end"))
    with pytest.raises(OutOfRange):
        coordinator.join()


def test_threads_that_do_not_stop_are_named() -> None:
    coordinator, release = Coordinator(), threading.Event()
    threads = started(release.wait, release.wait, lambda: None)
    coordinator.request_stop()
    with pytest.raises(DeadlineExceeded) as caught:
        coordinator.join(threads, stop_grace_period=0.1)
    assert str(caught.value) == (
        "Coordinator.join: these threads did not stop within 0.1 s of the request: worker 0, worker 1\n"
        "  let them ask should_stop(), and close the queues that they may wait for"
    )
    release.set()
    coordinator.join(threads)


def test_the_grace_period_begins_with_the_request() -> None:
    coordinator = Coordinator()

    def work() -> None:
        time.sleep(0.3)
        coordinator.request_stop()

    coordinator.join(started(work), stop_grace_period=0.2)


def test_an_error_goes_before_threads_that_do_not_stop() -> None:
    coordinator, release = Coordinator(), threading.Event()
    threads = started(release.wait)
    coordinator.request_stop(InvalidArgument("wrong"))
    with pytest.raises(InvalidArgument, match="wrong"):
        coordinator.join(threads, stop_grace_period=0.05)
    release.set()
    threads[0].join()


def test_an_error_after_join_is_raised_at_once() -> None:
    coordinator = Coordinator()
    coordinator.request_stop()
    coordinator.join()
    with pytest.raises(InvalidArgument, match="late"):
        coordinator.request_stop(InvalidArgument("late"))
    coordinator.request_stop(OutOfRange("clean"))


def test_it_can_begin_anew() -> None:
    coordinator = Coordinator()
    coordinator.request_stop(InvalidArgument("wrong"))
    with pytest.raises(InvalidArgument):
        coordinator.join()
    coordinator.clear_stop()
    assert not coordinator.should_stop() and not coordinator.joined
    assert not coordinator.wait_for_stop(0.01)
    coordinator.join(started(lambda: None))


def test_waiting_for_the_stop() -> None:
    coordinator = Coordinator()
    began = time.monotonic()
    assert not coordinator.wait_for_stop(0.05)
    assert 0.04 < time.monotonic() - began < 5
    assert not coordinator.wait_for_stop(0)
    clients = [Client(coordinator.wait_for_stop) for _ in range(5)]
    coordinator.request_stop()
    assert all(client.result(5) for client in clients)
    assert coordinator.wait_for_stop()


def test_a_generator_that_is_closed_passes_on() -> None:
    coordinator = Coordinator()

    def items() -> Iterator[int]:
        with coordinator.stop_on_exception():
            yield 1
            yield 2

    generator = items()
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    coordinator.join()
    assert coordinator.should_stop()


def test_a_thread_may_join_the_others() -> None:
    coordinator = Coordinator()

    def work() -> None:
        coordinator.register_thread(threading.current_thread())
        coordinator.request_stop()
        coordinator.join()

    Client(work).result()


def test_a_signal_handler_may_request_the_stop() -> None:
    coordinator = Coordinator()
    before = signal.signal(signal.SIGTERM, lambda number, frame: coordinator.request_stop())
    try:
        timer = threading.Timer(0.1, lambda: _thread.interrupt_main(signal.SIGTERM))
        timer.start()
        assert coordinator.wait_for_stop(20)
        timer.join()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_ends_the_wait_within_a_second() -> None:
    coordinator, release = Coordinator(), threading.Event()
    threads = started(release.wait)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells make jobs that ignore it
    timer = threading.Timer(0.1, _thread.interrupt_main)
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            coordinator.join(threads)
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()
    assert time.monotonic() - began < 1.2
    for thread in (timer, *threads):
        thread.join()


def test_it_is_public() -> None:
    assert {"Coordinator", "QueueRunner", "add_queue_runner", "start_queue_runners"} <= set(dfc.train.__all__)
