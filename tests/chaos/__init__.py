"""Worker and producer processes on a real S3 server behind a proxy that injects faults, with real signals."""
