"""The parts of tools/benchmark_data.py."""
