"""A comparison of two tests in words."""

from nonlocal_video.metrics.intervals import PairedDifference
from nonlocal_video.reports.test.accuracy import one_class_words
from nonlocal_video.reports.test.compare import Comparison, Precision
from nonlocal_video.reports.test.page import title
from nonlocal_video.reports.test.predictions import Tested


def format_comparison(a: Tested, b: Tested, found: Comparison, *, top: int) -> str:
    """The comparison in words.

    Args:
        top: how many of the classes that gained and that lost are named.
    """
    count = len(found.shared.predictions[0])
    lines = [f"{name}: {title(test.report)}, {test.folder}" for name, test in (("A", a), ("B", b))]
    lines.append(f"{count} videos in both")
    for name, only in zip("AB", found.shared.only, strict=True):
        if only:
            lines.append(f"{len(only)} only in {name}, left out here: {', '.join(only[:5])}{', ...' * (len(only) > 5)}")
    lines += ["", *_accuracy_lines(found)]
    lines += [f"{name}: {words}" for name, test in (("A", a), ("B", b)) for words in one_class_words(test.report)]
    lines.append("")
    size, video, label = found.largest
    name = a.classes[label] if a.classes else f"class {label}"
    lines.append(f"best class: another one in {found.changed} of {count} videos")
    lines.append(f"scores: differ by {size:.3g} at most ({video}, {name})")
    for title_, gains in (
        ("gained most", [gain for gain in found.gains if gain.gained > 0][:top]),
        ("lost most", [gain for gain in found.gains[::-1] if gain.gained < 0][:top]),
    ):
        if gains:
            lines += ["", f"classes that {title_} from A to B:"]
            lines += [f"  {gain.gained:+4d} of {gain.videos:4d} videos  {_name(a, gain.label)}" for gain in gains]
    if found.precision is not None:
        for title_, rows in (("gained", found.precision.classes), ("lost", found.precision.classes[::-1])):
            changed = [one for one in rows if (one[2] > 0) == (title_ == "gained") and one[2] != 0][:top]
            if changed:
                lines += ["", f"classes whose average precision {title_} most from A to B:"]
                lines += [f"  {by:+7.2f}  {videos:4d} videos  {_name(a, label)}" for label, videos, by in changed]
    lines += ["", "the reports differ in:" if found.facts else "the reports name the same weights, videos and protocol"]
    lines += [f"  {name}: {ours} | {theirs}" for name, ours, theirs in found.facts]
    return "\n".join(lines)


def _name(test: Tested, label: int) -> str:
    return test.classes[label] if test.classes else f"class {label}"


def _precision_lines(found: Precision) -> list[str]:
    gain = found.b - found.a
    interval = f"{found.low:+.2f} to {found.high:+.2f}"
    lines = [
        f"{'':6}{'A':>8}{'B':>8}{'B - A':>8}   95% interval",
        f"{'mAP':6}{found.a:8.2f}{found.b:8.2f}{gain:+8.2f}   {interval}",
        "interval: for matched videos (bootstrap)",
    ]
    if found.low > 0 or found.high < 0:
        better, worse = ("B", "A") if gain > 0 else ("A", "B")
        real = f"Yes, for videos such as these: the interval leaves out 0, {better} is better than {worse}."
        return [*lines, f"Is {gain:+.2f} real? {real}", "It tells nothing of another seed: train several."]
    return [*lines, f"Is {gain:+.2f} real? These videos cannot tell: the interval contains 0."]


def _accuracy_lines(found: Comparison) -> list[str]:
    if found.precision is not None:
        return _precision_lines(found.precision)
    if not found.topk:
        return ["no labels in both: accuracies cannot be compared"]
    lines = [f"{'':6}{'A':>8}{'B':>8}{'B - A':>8}   {'95% interval':18}{'only A':>8}{'only B':>8}{'p':>10}"]
    for key, (ours, theirs, one) in found.topk.items():
        interval = f"{one.low:+.2f} to {one.high:+.2f}"
        lines.append(
            f"{key:6}{ours:8.2f}{theirs:8.2f}{one.percent:+8.2f}   {interval:18}{one.only_a:8}{one.only_b:8}"
            f"{one.p:10.3g}"
        )
    lines += [
        "interval: for matched pairs (Agresti and Min 2005); only: that one alone gets right; p: exact McNemar test",
        verdict(found.topk["top1"][2]),
    ]
    return lines


def verdict(top1: PairedDifference) -> str:
    """Whether the difference is real, in plain words."""
    between = f"{top1.low:+.2f} to {top1.high:+.2f}"
    if top1.only_a == top1.only_b == 0:
        return "Is it real? There is no difference: A and B get the same videos right."
    if top1.low <= 0 <= top1.high:
        return (
            f"Is {top1.percent:+.2f} real? These videos cannot tell: the interval {between} contains 0, "
            "so that either may be the better one."
        )
    better, worse = ("B", "A") if top1.percent > 0 else ("A", "B")
    return (
        f"Is {top1.percent:+.2f} real? Yes, for videos such as these: the interval {between} leaves out 0, "
        f"{better} is better than {worse}.\nIt tells nothing of another seed: train several."
    )
