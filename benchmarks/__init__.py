"""Measures the engine: rates, latencies and billed requests a message. How to run and read it: ``docs/benchmarks.md``."""
