"""The pure core: what a queue is and how it decides. No I/O, no clock, no threads, no randomness."""
