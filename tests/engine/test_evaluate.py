"""The testing loop, and the journal that it leaves."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nonlocal_video.engine.evaluate import Journal, evaluate, journals, read_journals
from nonlocal_video.types import Failure, Prediction

TEST = {"weights": "abc", "protocol": {"num_clips": 5, "fps": None}}


class Judge:
    """Predicts what is asked, but for "broken"; remembers what it did."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def begin(self, item: str) -> str:
        self.did.append(f"begin {item}")
        return item

    def finish(self, pending: str) -> Prediction | Failure:
        self.did.append(f"finish {pending}")
        return Failure(pending, "broken") if pending == "broken" else prediction(pending)


def test_every_item_is_finished_once_while_the_device_is_at_the_next() -> None:
    judge, heard = Judge(), list[str]()

    def finished(outcome: Prediction | Failure) -> None:
        heard.append(outcome.video)
        judge.did.append(f"heard of {outcome.video}")

    evaluate(judge, ["a", "broken", "c"], finished=finished, total=3, unit="video")
    assert heard == ["a", "broken", "c"]
    assert judge.did == [
        "begin a", "begin broken", "finish a", "heard of a", "begin c", "finish broken", "heard of broken",
        "finish c", "heard of c",
    ]  # fmt: skip


def test_nothing_to_test_is_no_error() -> None:
    evaluate(Judge(), [], finished=lambda outcome: pytest.fail(f"heard of {outcome}"), total=0, unit="video")


def test_waiting_for_items_is_measured() -> None:
    def slow() -> Iterator[str]:
        for item in ("a", "b"):
            time.sleep(0.2)
            yield item

    work = evaluate(Judge(), slow(), finished=lambda _: time.sleep(0.2), total=2, unit="video")
    assert 0.4 <= work.waited_s <= work.seconds - 0.4


def prediction(name: str) -> Prediction:
    scores = torch.rand(5, dtype=torch.float64, generator=torch.Generator().manual_seed(len(name)))
    return Prediction(name, 3, scores / scores.sum(), (0, 1), (2, 0), torch.rand(2, 5))


def journal_of(folder: Path, rank: int, *names: str) -> None:
    journal = Journal(folder, rank=rank, test=TEST)
    for name in names:
        journal.add(prediction(name))
    journal.close()


def found_in(folder: Path) -> list[Prediction]:
    return read_journals(folder, test=TEST, read=Prediction.from_json)


def by_name(predictions: list[Prediction]) -> Iterator[Prediction]:
    return iter(sorted(predictions, key=lambda one: one.video))


def test_what_a_journal_holds_comes_back_bit_for_bit(tmp_path: Path) -> None:
    kept = prediction("a.mp4")
    journal = Journal(tmp_path, rank=0, test=TEST)
    journal.add(kept)  # Not closed: a killed process closes nothing.
    (found,) = found_in(tmp_path)
    assert torch.equal(found.scores, kept.scores)
    assert found.views is not None
    assert kept.views is not None
    assert torch.equal(found.views, kept.views)
    assert found._replace(scores=kept.scores, views=None) == kept._replace(views=None)
    journal.close()


def test_the_journals_of_all_ranks_are_read_and_a_video_counts_once(tmp_path: Path) -> None:
    journal_of(tmp_path, 0, "a", "b")
    journal_of(tmp_path, 1, "c", "a")
    assert [one.video for one in by_name(found_in(tmp_path))] == ["a", "b", "c"]
    assert len(journals(tmp_path)) == 2


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_half_a_line_of_a_killed_process_is_cut_off_and_nothing_else(cut: int, tmp_path: Path) -> None:
    journal_of(tmp_path, 0, "a", "b")
    (path,) = journals(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one.video for one in found_in(tmp_path)] == ["a"]
    journal_of(tmp_path, 0, "c")
    assert [one.video for one in found_in(tmp_path)] == ["a", "c"]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_journal_that_holds_less_than_its_first_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "unfinished.rank0.jsonl").write_text('{"test": {"wei')
    assert found_in(tmp_path) == []
    journal_of(tmp_path, 0, "a")
    assert [one.video for one in found_in(tmp_path)] == ["a"]


def test_journals_of_another_test_are_refused_with_the_difference(tmp_path: Path) -> None:
    journal_of(tmp_path, 0, "a")
    with pytest.raises(ValueError, match="weights: was abc, now def"):
        read_journals(tmp_path, test={**TEST, "weights": "def"}, read=Prediction.from_json)
