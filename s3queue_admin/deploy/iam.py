"""Least-privilege policies by role: what the engine asks of the store in each, and nothing more.

Each role is run under IAM enforcement in the tests: what it needs is allowed, what it must not do is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from s3queue.core.keys import check_prefix, check_queue_name
from s3queue.errors import InvalidName, InvalidSetting

_EVERYTHING = ("*",)
_PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


@dataclass(frozen=True, slots=True)
class Role:
    """What somebody does with queues: the areas below a queue's folder that it reads, writes and deletes.

    ``looks``: whether it may look at earlier versions and at the bucket's rules.
    """

    name: str
    use: str
    reads: tuple[str, ...]
    writes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    looks: bool = False


_MOVES = ("inbox/*", "dlq/*", "settled/*", "staged/*")
_WORK = (*_MOVES, "workers/*", "locks/*", "results/*", "history/*", "dedup/*", "probe-*")
_ALL = (
    Role(
        "producer",
        "enqueues, waits for results; cannot make a queue",
        reads=("queue.json", "forgetting.json", "ledger/*", "inbox/*", "dedup/*", "results/*"),
        writes=("queue.json", "inbox/*", "dedup/*"),
    ),
    Role(
        "worker",
        "processes messages, makes queues; cannot delete ledgers or settings, nor change schedules",
        reads=_EVERYTHING,
        writes=(*_WORK, "queue.json", "ledger/*", "forgetting.json"),
        deletes=_WORK,
    ),
    Role("viewer", "an operator who looks and changes nothing", reads=_EVERYTHING, looks=True),
    Role(
        "operator",
        "looks, repairs, replays, discards, configures; cannot delete ledgers or settings",
        reads=_EVERYTHING,
        writes=(
            *(*_MOVES, "locks/*", "dedup/*", "probe-*"),
            *("queue.json", "ledger/*", "forgetting.json", "schedules/*", "audit/*"),
        ),
        deletes=(*_MOVES, "locks/*", "dedup/*", "probe-*"),
        looks=True,
    ),
)
ROLES: Mapping[str, Role] = MappingProxyType({role.name: role for role in _ALL})
"""The roles by name."""


def policy(
    role: str,
    bucket: str,
    prefix: str = "s3queue/",
    *,
    queue: str | None = None,
    ordered: bool = False,
    partition: str = "aws",
) -> dict[str, Any]:
    """Return the IAM policy of a role, as JSON has it, for all queues below ``prefix`` or the one named.

    ``ordered``: let a producer write ledgers, as it must in strictly ordered queues. ``partition``: aws, aws-cn or
    aws-us-gov. InvalidSetting for an unknown role or partition, InvalidName for bucket, prefix or queue.
    """
    found = ROLES.get(role)
    if found is None:
        raise InvalidSetting(f"There is no role {role!r}.", remedy=f"Use one of {', '.join(ROLES)}.")
    if partition not in _PARTITIONS:
        raise InvalidSetting(f"There is no partition {partition!r}.", remedy=f"Use one of {', '.join(_PARTITIONS)}.")
    arn = f"arn:{partition}:s3:::{_checked(bucket)}"
    folder = check_prefix(prefix) + ("*" if queue is None else check_queue_name(queue)) + "/"
    listed = check_prefix(prefix) + ("*" if queue is None else folder.removeprefix(check_prefix(prefix)) + "*")
    writes = (
        (*found.writes, "ledger/*") if ordered and "ledger/*" not in found.writes and found.writes else found.writes
    )
    objects = {"Read": ("s3:GetObject", found.reads), "Write": ("s3:PutObject", writes)}
    objects["Delete"] = ("s3:DeleteObject", found.deletes)
    statements = [_objects(sid, action, f"{arn}/{folder}", areas) for sid, (action, areas) in objects.items() if areas]
    statements.append(_list(arn, listed, "s3:ListBucket", *(("s3:ListBucketVersions",) if found.looks else ())))
    if found.looks:
        statements.append(_objects("Versions", "s3:GetObjectVersion", f"{arn}/{folder}", _EVERYTHING))
        rules = ["s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"]
        statements.append({"Sid": "Rules", "Effect": "Allow", "Action": rules, "Resource": arn})
    return {"Version": "2012-10-17", "Statement": statements}


def _objects(sid: str, action: str, base: str, areas: Iterable[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": [base + area for area in areas]}


def _list(arn: str, prefix: str, *actions: str) -> dict[str, Any]:
    """Allow listing below the prefix.

    IfExists, because S3 asks for this permission also when an object is missing, to answer 404 rather than 403: in that
    request there is no prefix.
    """
    condition = {"StringLikeIfExists": {"s3:prefix": [prefix]}}
    return {"Sid": "List", "Effect": "Allow", "Action": list(actions), "Resource": arn, "Condition": condition}


def _checked(bucket: str) -> str:
    if not isinstance(bucket, str) or not 3 <= len(bucket) <= 63 or not set(bucket) <= _BUCKET:
        raise InvalidName(
            f"{bucket!r:.80} cannot be the name of a bucket.",
            remedy="Use the bare name: 3 to 63 lower-case letters, digits, '-' and '.'.",
        )
    return bucket


_BUCKET = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
