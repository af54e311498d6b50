"""An independent statement of the released Caffe2 models, to hold the importer of their pickles against.

Nothing here uses the package under test. The networks are written as plain functions of the blobs, from what the
released code computes; the pickles are written opcode by opcode as Python 2 would have written them.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

BN_EPSILON = 1.0000001e-5
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # Residual blocks in res2, res3, res4 and res5.
KINDS = ("c2d", "i3d", "nl_c2d", "nl_i3d")

# ----------------------------------------------------------------------------------------------------------------------
# The layout: which blocks are inflated, where the non-local blocks are
# ----------------------------------------------------------------------------------------------------------------------


def nonlocal_places(kind: str, depth: int) -> dict[int, tuple[int, ...]]:
    """The residual blocks of each stage that a non-local block follows, counted from zero."""
    if kind not in KINDS:
        raise ValueError(f"no such kind: {kind}")
    if not kind.startswith("nl_"):
        return {}
    return {3: (1, 3), 4: {50: (1, 3, 5), 101: (6, 13, 20)}[depth]}


def temporal_kernel(kind: str, stage: int, block: int) -> int:
    """The length in time of a residual block's first convolution."""
    if not kind.endswith("i3d"):
        return 1
    inflated = {2: True, 3: block % 2 == 0, 4: block % 2 == 0, 5: block % 2 == 1}[stage]
    return 3 if inflated else 1


# ----------------------------------------------------------------------------------------------------------------------
# Random blobs
# ----------------------------------------------------------------------------------------------------------------------


def _conv(rng: np.random.Generator, shape: tuple[int, ...], gain: float = 2.0) -> np.ndarray:
    """Weights whose output has about `gain` times the input's mean square."""
    deviation = np.float32((gain / np.prod(shape[1:])) ** 0.5)
    return rng.standard_normal(shape, dtype=np.float32) * deviation


def _uniform(rng: np.random.Generator, low: float, high: float, size: int) -> np.ndarray:
    return rng.uniform(low, high, size).astype(np.float32)


def _normal(rng: np.random.Generator, deviation: float, size: int) -> np.ndarray:
    return rng.standard_normal(size, dtype=np.float32) * np.float32(deviation)


def _norm(
    rng: np.random.Generator, name: str, channels: int, *, affine: bool, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """A batch norm's four blobs, or the two of a frozen affine; `scale` shrinks the output."""
    blobs = {
        f"{name}_s": _uniform(rng, 0.5 * scale, 1.5 * scale, channels),
        f"{name}_b": _normal(rng, 0.1, channels),
    }
    if not affine:
        blobs[f"{name}_rm"] = _normal(rng, 0.1, channels)
        blobs[f"{name}_riv"] = _uniform(rng, 0.5, 2.0, channels)
    return blobs


def _nonlocal_blobs(rng: np.random.Generator, name: str, channels: int, *, affine: bool) -> dict[str, np.ndarray]:
    inner = channels // 2
    shapes = {"theta": (inner, channels), "phi": (inner, channels), "g": (inner, channels), "out": (channels, inner)}
    # Moderate products, so that the softmax is neither flat nor a maximum. The branch is kept smaller than its input:
    # by the norm's scale, or where there is none by the weights of "out".
    gains = {"theta": 1.0, "phi": 1.0, "g": 1.0, "out": 0.15 if affine else 1.0}
    blobs = {}
    for part, shape in shapes.items():
        blobs[f"{name}_{part}_w"] = _conv(rng, (*shape, 1, 1, 1), gain=gains[part])
        blobs[f"{name}_{part}_b"] = _normal(rng, 0.3 * gains[part], shape[0])
    if not affine:
        blobs |= _norm(rng, f"{name}_bn", channels, affine=False, scale=0.4)
    return blobs


def _backbone_blobs(
    rng: np.random.Generator, depth: int, *, kernels: Callable[[int, int], int], stem: int, affine: bool, width: int
) -> dict[str, np.ndarray]:
    """Every convolution of the residual network with its norm."""
    blobs = {"conv1_w": _conv(rng, (width, 3, stem, 7, 7))}
    blobs |= _norm(rng, "res_conv1_bn", width, affine=affine)
    last = {50: 0.3, 101: 0.2}[depth]
    channels = width
    for stage, count in enumerate(BLOCKS[depth], start=2):
        for block in range(count):
            name = f"res{stage}_{block}"
            if block == 0:
                blobs[f"{name}_branch1_w"] = _conv(rng, (4 * width, channels, 1, 1, 1), gain=1.0)
                blobs |= _norm(rng, f"{name}_branch1_bn", 4 * width, affine=affine)
            blobs[f"{name}_branch2a_w"] = _conv(rng, (width, channels, kernels(stage, block), 1, 1))
            blobs |= _norm(rng, f"{name}_branch2a_bn", width, affine=affine)
            blobs[f"{name}_branch2b_w"] = _conv(rng, (width, width, 1, 3, 3))
            blobs |= _norm(rng, f"{name}_branch2b_bn", width, affine=affine)
            blobs[f"{name}_branch2c_w"] = _conv(rng, (4 * width, width, 1, 1, 1))
            # A small last scale, as the sum over the blocks of a stage would grow without bound.
            blobs |= _norm(rng, f"{name}_branch2c_bn", 4 * width, affine=affine, scale=last)
            channels = 4 * width
        width *= 2
    return blobs


def _classifier_blobs(rng: np.random.Generator, num_classes: int, width: int) -> dict[str, np.ndarray]:
    return {"pred_w": _conv(rng, (num_classes, 32 * width), gain=2.0), "pred_b": _normal(rng, 0.3, num_classes)}


def random_blobs(
    kind: str, *, depth: int = 50, num_classes: int, affine: bool = False, width: int = 64, seed: int = 0
) -> dict[str, np.ndarray]:
    """A released model's weights by name, with random values that keep every layer's output of order one.

    Args:
        kind: "c2d", "i3d", "nl_c2d" or "nl_i3d".
        depth: 50 or 101.
        num_classes: The rows of the classifier.
        affine: Give each norm as a frozen scale and offset only, and the non-local blocks no norm at all, as in the
            models that were trained on long clips.
        width: The channels of conv1 and of res2 inside; 64 in the released models.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    places = nonlocal_places(kind, depth)
    blobs = _backbone_blobs(
        rng,
        depth,
        kernels=lambda stage, block: temporal_kernel(kind, stage, block),
        stem=5 if kind.endswith("i3d") else 1,
        affine=affine,
        width=width,
    )
    for stage, blocks in places.items():
        for block in blocks:
            blobs |= _nonlocal_blobs(rng, f"nonlocal_conv{stage}_{block}", width * 2**stage, affine=affine)
    return blobs | _classifier_blobs(rng, num_classes, width)


def random_imagenet_blobs(depth: int = 50, width: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """The weights of a 2-D ResNet of 1000 classes by name, whose convolutions have four axes."""
    rng = np.random.default_rng(seed)
    blobs = _backbone_blobs(rng, depth, kernels=lambda _stage, _block: 1, stem=1, affine=False, width=width)
    flat = {name: blob[:, :, 0] if blob.ndim == 5 else blob for name, blob in blobs.items()}
    return flat | _classifier_blobs(rng, 1000, width)


def with_training_state(blobs: Mapping[str, np.ndarray], *, seed: int = 1) -> dict[str, Any]:
    """The blobs with what a file written in training holds beside them.

    That is the iteration, the learning rate, and a momentum for each blob that the solver updates: not for running
    statistics, and not for the scale and offset of a frozen affine.
    """
    rng = np.random.default_rng(seed)
    full: dict[str, Any] = {"model_iter": 400001, "lr": np.array(1e-4, dtype=np.float32)}
    for name, blob in blobs.items():
        full[name] = blob
        norm = name.removesuffix("_s").removesuffix("_b") if name.endswith(("_bn_s", "_bn_b")) else None
        if name.endswith(("_rm", "_riv")) or (norm is not None and f"{norm}_riv" not in blobs):
            continue
        full[f"{name}_momentum"] = rng.standard_normal(blob.shape, dtype=np.float32)
    return full


# ----------------------------------------------------------------------------------------------------------------------
# The networks
# ----------------------------------------------------------------------------------------------------------------------


class _Blobs:
    """Blobs read as tensors of one type."""

    def __init__(self, blobs: Mapping[str, Any], dtype: torch.dtype) -> None:
        self.blobs = blobs
        self.dtype = dtype

    def __contains__(self, name: str) -> bool:
        return name in self.blobs

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.blobs[name])).to(self.dtype)


def _normalise(x: Tensor, blobs: _Blobs, name: str) -> Tensor:
    """Batch norm with its running statistics, or the frozen affine where the blobs hold none."""
    shape = (1, -1, 1, 1, 1)
    scale, offset = blobs[f"{name}_s"].view(shape), blobs[f"{name}_b"].view(shape)
    if f"{name}_riv" in blobs:
        mean, variance = blobs[f"{name}_rm"].view(shape), blobs[f"{name}_riv"].view(shape)  # "riv" is a variance.
        x = (x - mean) / torch.sqrt(variance + BN_EPSILON)
    return x * scale + offset


def _residual_block(x: Tensor, blobs: _Blobs, name: str, *, stride: int, kernel: int) -> Tensor:
    def conv_norm(x: Tensor, branch: str, stride: int, padding: tuple[int, int, int]) -> Tensor:
        y = F.conv3d(x, blobs[f"{name}_{branch}_w"], stride=(1, stride, stride), padding=padding)
        return _normalise(y, blobs, f"{name}_{branch}_bn")

    if blobs[f"{name}_branch2a_w"].shape[2] != kernel:
        raise ValueError(f"{name}_branch2a_w should be {kernel} long in time")
    y = F.relu(conv_norm(x, "branch2a", 1, (kernel // 2, 0, 0)))
    y = F.relu(conv_norm(y, "branch2b", stride, (0, 1, 1)))
    y = conv_norm(y, "branch2c", 1, (0, 0, 0))
    shortcut = conv_norm(x, "branch1", stride, (0, 0, 0)) if f"{name}_branch1_w" in blobs else x
    return F.relu(y + shortcut)


def _nonlocal_block(x: Tensor, blobs: _Blobs, name: str) -> Tensor:
    def project(x: Tensor, part: str) -> Tensor:
        return F.conv3d(x, blobs[f"{name}_{part}_w"], blobs[f"{name}_{part}_b"])

    pooled = F.max_pool3d(x, (1, 2, 2), (1, 2, 2))  # Before the projections, and shared by both.
    theta = project(x, "theta").flatten(2)
    phi = project(pooled, "phi").flatten(2)
    g = project(pooled, "g").flatten(2)
    affinity = torch.einsum("bci,bcj->bij", theta, phi) * theta.shape[1] ** -0.5
    y = torch.einsum("bij,bcj->bci", torch.softmax(affinity, dim=2), g)
    z = project(y.reshape(y.shape[0], y.shape[1], *x.shape[2:]), "out")
    if f"{name}_bn_s" in blobs:
        z = _normalise(z, blobs, f"{name}_bn")
    return x + z


def _grouped_nonlocal_block(x: Tensor, blobs: _Blobs, name: str, group: int | None) -> Tensor:
    """The block on each run of `group` successive positions in time by itself."""
    if group is None:
        return _nonlocal_block(x, blobs, name)
    if x.shape[2] % group:
        raise ValueError(f"{x.shape[2]} positions in time do not divide into groups of {group}")
    return torch.cat([_nonlocal_block(part, blobs, name) for part in x.split(group, dim=2)], dim=2)


def final_features(
    blobs: Mapping[str, Any],
    clips: Tensor,
    *,
    kind: str,
    depth: int = 50,
    stem: str,
    group_res3: int | None = None,
) -> Tensor:
    """The last map (B,2048,T',H',W') of normalised clips (B,3,T,H,W).

    It is computed in the precision of the clips.

    Args:
        blobs: The weights by name. Names of a training state are passed over.
        clips: Normalised clips.
        kind: "c2d", "i3d", "nl_c2d" or "nl_i3d".
        depth: 50 or 101.
        stem: "org" for the released code's resnet_video_org (the first two layers halve the time), "new" for its
            resnet_video (they keep it). The blobs of the two are alike.
        group_res3: Run the non-local blocks of res3 on groups of so many successive positions in time.
    """
    read = _Blobs(blobs, clips.dtype)
    halving = {"org": 2, "new": 1}[stem]
    places = nonlocal_places(kind, depth)
    length = 5 if kind.endswith("i3d") else 1
    if read["conv1_w"].shape[2] != length:
        raise ValueError(f"conv1_w should be {length} long in time")
    x = F.conv3d(clips, read["conv1_w"], stride=(halving, 2, 2), padding=(length // 2, 3, 3))
    x = F.relu(_normalise(x, read, "res_conv1_bn"))
    x = F.max_pool3d(x, (halving, 3, 3), (halving, 2, 2))
    for stage, count in enumerate(BLOCKS[depth], start=2):
        for block in range(count):
            stride = 2 if stage > 2 and block == 0 else 1
            kernel = temporal_kernel(kind, stage, block)
            x = _residual_block(x, read, f"res{stage}_{block}", stride=stride, kernel=kernel)
            if block in places.get(stage, ()):
                group = group_res3 if stage == 3 else None
                x = _grouped_nonlocal_block(x, read, f"nonlocal_conv{stage}_{block}", group)
        if stage == 2:
            x = F.max_pool3d(x, (2, 1, 1), (2, 1, 1))
    return x


def forward(
    blobs: Mapping[str, Any],
    clips: Tensor,
    *,
    kind: str,
    depth: int = 50,
    stem: str,
    group_res3: int | None = None,
) -> Tensor:
    """Logits (B,K) of clips of the training size: the mean over the last map, then the classifier."""
    features = final_features(blobs, clips, kind=kind, depth=depth, stem=stem, group_res3=group_res3)
    read = _Blobs(blobs, clips.dtype)
    return F.linear(features.mean(dim=(2, 3, 4)), read["pred_w"], read["pred_b"])


def scores(
    blobs: Mapping[str, Any],
    clips: Tensor,
    *,
    window: tuple[int, int, int],
    kind: str,
    depth: int = 50,
    stem: str,
    group_res3: int | None = None,
) -> Tensor:
    """Class probabilities (B,K) by the released testing head.

    The last map is averaged in a window that slides by one, each position is classified by itself, and the
    probabilities of the positions are averaged.

    Args:
        window: The extent of the last map for a clip of the training size, (T',H',W').
    """
    features = final_features(blobs, clips, kind=kind, depth=depth, stem=stem, group_res3=group_res3)
    read = _Blobs(blobs, clips.dtype)
    pooled = F.avg_pool3d(features, window, stride=1)
    logits = torch.einsum("bcthw,kc->bkthw", pooled, read["pred_w"]) + read["pred_b"].view(1, -1, 1, 1, 1)
    return torch.softmax(logits, dim=1).mean(dim=(2, 3, 4))


# ----------------------------------------------------------------------------------------------------------------------
# Pickles as Python 2 wrote them
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Name:
    """A class or a function, which a pickle gives by name."""

    module: str
    attribute: str


@dataclass(frozen=True)
class _Call:
    """A call, which unpickling makes."""

    function: _Name
    arguments: tuple[object, ...]


class _Python2Pickler:
    """Writes the opcodes of Python 2's cPickle for dictionaries of numbers, strings and arrays.

    `str` and `bytes` both become Python 2's 8-bit `str`, but for the keys in `unicode_keys`.
    """

    def __init__(self, file: BinaryIO, protocol: int, unicode_keys: frozenset[str] = frozenset()) -> None:
        if protocol not in (0, 2):
            raise ValueError(f"protocol {protocol} is not written here")
        self.file = file
        self.binary = protocol == 2
        self.unicode_keys = unicode_keys
        self.memo: dict[object, int] = {}
        self.memoised = 0

    def dump(self, value: object) -> None:
        if self.binary:
            self.file.write(b"\x80\x02")  # PROTO
        self.save(value)
        self.file.write(b".")  # STOP

    def save(self, value: object) -> None:
        writers: dict[type, Callable[[Any], None]] = {
            np.ndarray: self.array,
            np.dtype: self.data_type,
            dict: self.dictionary,
            tuple: self.tuple,
            bytes: self.string,
            str: lambda text: self.string(text.encode("latin1")),
            _Name: self.name,
            _Call: self.call,
        }
        for kind, write in writers.items():
            if isinstance(value, kind):
                write(value)
                return
        self.plain(value)

    def plain(self, value: object) -> None:
        """None, a bool, an int of 32 bits or a float."""
        if value is None:
            self.file.write(b"N")  # NONE
        elif isinstance(value, bool):
            text = b"I01\n" if value else b"I00\n"  # INT, by which older protocols give a bool
            self.file.write((b"\x88" if value else b"\x89") if self.binary else text)  # NEWTRUE, NEWFALSE
        elif isinstance(value, int):
            self.integer(value)
        elif isinstance(value, float):
            self.file.write(b"G" + struct.pack(">d", value) if self.binary else b"F%r\n" % value)  # BINFLOAT, FLOAT
        else:
            raise TypeError(f"not written here: {type(value)}")

    def integer(self, value: int) -> None:
        if not self.binary:
            self.file.write(b"I%d\n" % value)  # INT
        elif 0 <= value < 256:
            self.file.write(b"K" + struct.pack("<B", value))  # BININT1
        elif 0 <= value < 65536:
            self.file.write(b"M" + struct.pack("<H", value))  # BININT2
        else:
            self.file.write(b"J" + struct.pack("<i", value))  # BININT

    def string(self, value: bytes) -> None:
        if not self.binary:
            # What Python 3 shows of bytes is, but for the leading b, what Python 2 showed of a str.
            self.file.write(b"S" + repr(value)[1:].encode("ascii") + b"\n")  # STRING
        elif len(value) < 256:
            self.file.write(b"U" + struct.pack("<B", len(value)) + value)  # SHORT_BINSTRING
        else:
            self.file.write(b"T" + struct.pack("<i", len(value)))  # BINSTRING
            self.file.write(value)

    def key(self, value: str) -> None:
        text = value.encode("ascii")
        if value not in self.unicode_keys:
            self.string(text)
        elif self.binary:
            self.file.write(b"X" + struct.pack("<i", len(text)) + text)  # BINUNICODE
        else:
            self.file.write(b"V" + text + b"\n")  # UNICODE
        self.remember(None)

    def tuple(self, values: tuple[object, ...]) -> None:
        if not values and self.binary:
            self.file.write(b")")  # EMPTY_TUPLE
            return
        short = self.binary and len(values) <= 3
        if not short:
            self.file.write(b"(")  # MARK
        for value in values:
            self.save(value)
        self.file.write((b"\x85", b"\x86", b"\x87")[len(values) - 1] if short else b"t")  # TUPLE1 to 3, TUPLE

    def dictionary(self, values: dict[str, object]) -> None:
        """In batches of a thousand, or entry by entry in protocol 0."""
        self.file.write(b"}" if self.binary else b"(d")  # EMPTY_DICT; MARK DICT
        self.remember(None)
        items = list(values.items())
        size = 1000 if self.binary else 1
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            if len(batch) > 1:
                self.file.write(b"(")  # MARK
            for key, value in batch:
                self.key(key)
                self.save(value)
            self.file.write(b"u" if len(batch) > 1 else b"s")  # SETITEMS, SETITEM

    def array(self, value: np.ndarray) -> None:
        """An array: an empty one that is then given its version, shape, type, order and data."""
        self.call(_Call(_Name("numpy.core.multiarray", "_reconstruct"), (_Name("numpy", "ndarray"), (0,), "b")))
        self.tuple((1, value.shape, value.dtype, False, value.tobytes()))
        self.file.write(b"b")  # BUILD

    def data_type(self, value: np.dtype) -> None:
        if self.recall(value):
            return
        order, code = value.str[0], value.str[1:]
        self.call(_Call(_Name("numpy", "dtype"), (code, 0, 1)), key=value)
        self.tuple((3, order, None, None, None, -1, -1, 0))
        self.file.write(b"b")  # BUILD

    def call(self, value: _Call, key: object = None) -> None:
        self.name(value.function)
        self.tuple(value.arguments)
        self.file.write(b"R")  # REDUCE
        self.remember(key)

    def name(self, value: _Name) -> None:
        if not self.recall(value):
            self.file.write(b"c%s\n%s\n" % (value.module.encode(), value.attribute.encode()))  # GLOBAL
            self.remember(value)

    def remember(self, key: object) -> None:
        """Number what was written last, as cPickle does from one up; `key` is what `recall` finds it by."""
        self.memoised += 1
        number = self.memoised
        if key is not None:
            self.memo[key] = number
        if not self.binary:
            self.file.write(b"p%d\n" % number)  # PUT
        elif number < 256:
            self.file.write(b"q" + struct.pack("<B", number))  # BINPUT
        else:
            self.file.write(b"r" + struct.pack("<i", number))  # LONG_BINPUT

    def recall(self, key: object) -> bool:
        """Write a reference to what was written before, if it was."""
        number = self.memo.get(key)
        if number is None:
            return False
        if not self.binary:
            self.file.write(b"g%d\n" % number)  # GET
        elif number < 256:
            self.file.write(b"h" + struct.pack("<B", number))  # BINGET
        else:
            self.file.write(b"j" + struct.pack("<i", number))  # LONG_BINGET
        return True


def dump_python2(
    obj: Mapping[str, Any], path: str | Path, *, nested: bool, protocol: int, unicode_keys: bool = False
) -> None:
    """Write blobs as Python 2's cPickle wrote them with the numpy of its time.

    Args:
        obj: Blobs by name; arrays, ints and floats.
        path: The file to write.
        nested: Put the blobs under the key "blobs", as training does; the released conversion scripts do not.
        protocol: 2, as training writes, or 0, as the conversion scripts do.
        unicode_keys: Write the keys that the released training code made from unicode literals (the iteration, the
            learning rate and the momentums) as unicode strings, rather than all of them as 8-bit ones.
    """
    names = {key for key in obj if key in ("model_iter", "lr") or key.endswith("_momentum")} if unicode_keys else set()
    blobs = dict(obj)
    with Path(path).open("wb") as file:
        _Python2Pickler(file, protocol, frozenset(names)).dump({"blobs": blobs} if nested else blobs)


def malicious_pickle(path: str | Path, marker: str | Path, *, protocol: int = 2) -> None:
    """Write a file of blobs in which a harmless one precedes one whose unpickling makes the file `marker`."""
    command = _Call(_Name("posix", "system"), (f"touch '{marker}'",))  # The name that os.system is pickled by.
    blobs = {"res_conv1_bn_s": np.ones(64, dtype=np.float32), "conv1_w": command}
    with Path(path).open("wb") as file:
        _Python2Pickler(file, protocol).dump({"blobs": blobs})
