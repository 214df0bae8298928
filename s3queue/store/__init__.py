"""Bytes, keys and ETags: the port, its adapters and its wrappers. Knows nothing of queues."""
