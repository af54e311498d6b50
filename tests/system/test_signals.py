"""What reaches the processes that a job starts."""

import signal
from multiprocessing import resource_tracker

import pytest

from nonlocal_video.system.signals import STOPPING, deaf_children


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs masks of signals")
def test_children_are_deaf_though_the_tracker_of_multiprocessing_lets_signals_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its start ends with letting SIGINT and SIGTERM through, whatever was before (bpo-33613)."""

    def ensure_running() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])

    monkeypatch.setattr(resource_tracker, "ensure_running", ensure_running)
    with deaf_children():
        assert set(STOPPING) <= signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert not set(STOPPING) & signal.pthread_sigmask(signal.SIG_BLOCK, [])
