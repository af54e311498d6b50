"""The non-local operation, the residual networks that hold it, and their weights."""
