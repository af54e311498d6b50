"""The words that settings choose from; what each word means stands beside what it chooses."""

from typing import Literal

# Networks

Axes = Literal["space", "time", "spacetime"]
Subsample = Literal["before", "after", "none"]
BlockNorm = Literal["batch", "affine", "none"]
Norm = Literal["batch", "affine"]
Inflation = Literal["none", "3x1x1", "3x3x3"]
Stem = Literal["strided", "dense", "skipping"]
StrideIn = Literal["3x3", "1x1"]
Added = Literal["nonlocal", "residual"]
Activation = Literal["softmax", "sigmoid"]

# Videos

Labels = Literal["one", "clip", "video"]
Sampling = Literal["released", "clamped"]
Placement = Literal["released", "even", "pyslowfast", "mmaction2", "centred"]
Crops = Literal["full", "1", "3"]
Combine = Literal["mean", "max"]
Decoder = Literal["pyav", "decord", "torchcodec"]

# Training

TaskName = Literal["single_label", "multi_label"]

LearningRate = Literal["steps", "cosine"]
Nonfinite = Literal["stop", "skip"]
Precision = Literal["fp32", "bf16", "fp16"]
Length = Literal["full", "half", "quarter"]

# Predictions

Lines = Literal["text", "jsonl", "csv"]
