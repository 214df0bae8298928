"""Locks over HTTP against a real server: processes apart, real time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from s3queue import LockHeld, LockLost, Queue
from s3queue.devserver import MiniStack
from tests.servers import fresh_bucket


@pytest.mark.usefixtures("aws_keys")
def test_a_lock_of_two_clients(ministack: MiniStack) -> None:
    bucket = fresh_bucket(ministack)
    mine, theirs = (
        Queue("jobs", bucket=bucket, endpoint_url=ministack.endpoint_url, region=ministack.region, probe=False)
        for _ in range(2)
    )
    inside, most, tokens = 0, 0, list[int]()

    def take(queue: Queue) -> None:
        nonlocal inside, most
        with queue.lock("a", 20, wait=30) as lock:
            inside += 1
            most = max(most, inside)
            tokens.append(lock.token)
            lock.renew()
            inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, [mine, theirs] * 4))
    assert (most, len(tokens)) == (1, 8)
    assert tokens == sorted(set(tokens))
    lock = mine.lock("a", renew=False).acquire()
    with pytest.raises(LockHeld, match=mine.worker_id):
        theirs.lock("a").acquire()
    assert theirs.break_lock("a") is not None
    with theirs.lock("a", renew=False) as heir:
        assert heir.token > lock.token
        with pytest.raises(LockLost, match=theirs.worker_id):
            lock.renew()
    assert mine.locks() == []
    mine.close()
    theirs.close()
