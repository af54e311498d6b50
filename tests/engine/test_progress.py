import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from nonlocal_video.engine import progress as progress_module
from nonlocal_video.engine.progress import Progress, format_line
from nonlocal_video.tasks.multi_label import multi_label
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import Failure

TASK = single_label(7)

RECORD = {"step": 110, "loss": 1.23456, "top1": 45.62, "lr": 0.00125, "clips_per_s": 12.34, "data_wait": 3.4}


class Terminal:
    """A terminal, and what is on its screen."""

    def __init__(self, *, columns: int) -> None:
        self.screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
        self.stream = os.fdopen(inside, "w")

    def text(self) -> str:
        """What was written: the system hands it on in pieces, some of them later."""
        self.stream.write("\0")
        self.stream.flush()
        text = b""
        while not text.endswith(b"\0"):
            text += os.read(self.screen, 100_000)
        return text.decode()

    def close_window(self) -> None:
        os.close(self.screen)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock; to be set."""
    clock = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    return clock


def test_a_line_says_it_all() -> None:
    facts = "loss 1.2346  top-1 45.6%  lr 0.00125  12.3 clips/s  data wait 3%"
    assert format_line(RECORD, TASK, last_step=400, eta_s=3661.4) == f"step 110/400  {facts}  ETA 1:01:01"
    assert format_line(RECORD, TASK, last_step=400, eta_s=200000, peak_gib=9.87).endswith(
        "ETA 2 days, 7:33:20  GPU memory 9.9 GiB"
    )


def test_a_line_calls_things_as_the_task_does() -> None:
    line = format_line(RECORD, multi_label(7, scope="clip"), last_step=400, eta_s=1)
    assert "loss 1.2346  hit@1 45.6%  lr 0.00125" in line


def test_skipped_steps_show_where_there_are_any() -> None:
    assert "skipped" not in format_line({**RECORD, "skipped_steps": 0}, TASK, last_step=400, eta_s=1)
    nothing = {name: value for name, value in RECORD.items() if name not in ("loss", "top1")}
    assert format_line({**nothing, "skipped_steps": 4}, TASK, last_step=400, eta_s=1).startswith(
        "step 110/400  4 steps skipped  lr 0.00125"
    )


def test_the_time_left_follows_from_the_steps_of_this_process(now: list[float]) -> None:
    """10 steps in 20 s, 90 to go; the 100 steps before were another process's."""
    kept: list[str] = []
    progress = Progress(100, 200, task=TASK, keep=kept.append)
    now[0] += 20
    progress.show(RECORD, [])
    now[0] += 5
    progress.show({**RECORD, "step": 200}, [])
    assert kept[0].endswith("ETA 0:03:00")
    assert kept[1].endswith("ETA 0:00:00")


def test_without_a_terminal_every_record_is_a_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[str] = []
    progress = Progress(0, 200, task=TASK, keep=kept.append)
    progress.advance()
    progress.show(RECORD, [])
    progress.note("saved")
    progress.close()
    out, err = capsys.readouterr()
    assert out.splitlines() == kept
    assert kept[0].startswith("step 110/200  loss 1.2346")
    assert kept[1] == "saved"
    assert err == ""


def test_a_terminal_has_a_bar_on_stderr_and_notes_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, kept = Terminal(columns=150), list[str]()
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    progress = Progress(100, 200, task=TASK, keep=kept.append)
    for _ in range(10):
        progress.advance()
    progress.show(RECORD, [])
    progress.note("saved")
    shown = terminal.text()
    progress.close()
    assert capsys.readouterr().out == "saved\n"
    assert " 55%|" in shown
    assert kept[0] in shown
    assert kept[1:] == ["saved"]


def test_a_terminal_without_columns_has_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the one of a container whose output nobody watches."""
    kept: list[str] = []
    monkeypatch.setattr(sys, "stderr", Terminal(columns=0).stream)
    Progress(100, 200, task=TASK, keep=kept.append).show(RECORD, [])
    assert capsys.readouterr().out.splitlines() == kept


def test_a_time_out_is_told_since_the_run_may_not_repeat() -> None:
    kept: list[str] = []
    failures = [Failure("a.mp4", "a.mp4: not decoded within 60 s", transient=True), Failure("b.mp4", "b.mp4: broken")]
    Progress(0, 200, task=TASK, keep=kept.append).show(RECORD, failures)
    assert kept[1:] == ["note: a.mp4: not decoded within 60 s; from here this run may not repeat exactly"]


def test_a_terminal_that_is_gone_does_not_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, kept = Terminal(columns=100), list[str]()
    for stream in ("stderr", "stdout"):
        monkeypatch.setattr(sys, stream, terminal.stream)
    progress = Progress(0, 200, task=TASK, keep=kept.append)
    progress.show(RECORD, [])
    terminal.text()
    terminal.close_window()
    with pytest.raises(OSError, match="Input/output error"):
        print("gone", flush=True)
    for _ in range(200):
        progress.advance()
    progress.show(RECORD, [])
    progress.note("saved")
    progress.close()
    assert kept[2:] == ["saved"]
