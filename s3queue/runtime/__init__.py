"""The only threads, processes and signals: they keep the agents of :mod:`s3queue.protocol` stepping."""
