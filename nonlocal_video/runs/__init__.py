"""The life of a run: how it starts, trains, is tested and predicts, and its folder."""
