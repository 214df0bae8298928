"""The doctor: each way in which a store or a role can fail has its finding, and a healthy one has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from moto import mock_aws

from s3queue import InvalidName, StoreRefused, StoreUnavailable, Worker
from s3queue.store.port import CREATE, OVERWRITE, Object, Page, PutMode, Store
from s3queue.store.rules import LifecycleRule
from s3queue_admin.bucket import Bucket
from s3queue_admin.checkup import doctor
from tests.admin.test_snapshot import Site, fail
from tests.queue.clocks import ManualClock
from tests.store.faulty import Wrapper


class Sick(Wrapper):
    """A store that refuses some verbs, is slow, tells another time, or writes whatever the condition says."""

    def __init__(self, store: Store, clock: ManualClock, *, reason: str = "access-denied") -> None:
        super().__init__(store)
        self.clock, self.reason = clock, reason
        self.denied: set[str] = set()
        self.down = self.careless = False
        self.offset_ms = 0
        self.takes_s = 0.0
        self.writes: list[str] = []
        self.rules: tuple[LifecycleRule, ...] = ()
        self.versioned = False

    def now_ms(self) -> int:
        return self.clock.now_ms() + self.offset_ms

    def _ask(self, verb: str, key: str) -> None:
        self.clock.advance(self.takes_s or 0.001)
        if self.down:
            raise StoreUnavailable("It does not answer.", key=key)
        if verb in self.denied:
            raise StoreRefused(f"{verb} is denied.", reason=self.reason, key=key)
        if verb in ("PUT", "DELETE"):
            self.writes.append(key)

    def get(self, key: str, if_none_match: str | None = None) -> Object | None:
        self._ask("GET", key)
        return super().get(key, if_none_match)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self._ask("LIST", prefix)
        return super().list(prefix, after, limit)

    def put(self, key: str, body: bytes, mode: PutMode) -> str:
        self._ask("PUT", key)
        return super().put(key, body, OVERWRITE if self.careless else mode)

    def delete(self, key: str) -> None:
        self._ask("DELETE", key)
        super().delete(key)

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        self._ask("DELETE", keys[0])
        return super().delete_many(keys)

    def lifecycle_rules(self) -> tuple[LifecycleRule, ...]:
        self._ask("RULES", "")
        return self.rules

    def keeps_versions(self) -> bool:
        return self.versioned

    def get_version(self, key: str, version_id: str) -> Object:
        raise NotImplementedError


class Clinic(Site):
    """A healthy queue in a store that can be made sick."""

    def __init__(self) -> None:
        super().__init__()
        Worker(self.queue(), lambda _: None, burst=True).run()
        self.sick = Sick(self.store, self.clock)
        self.bucket = Bucket(url="memory://x", store=self.sick, clock=self.clock)

    def codes(self, name: str | None = "jobs", **options: Any) -> list[str]:
        return [finding.code for finding in doctor(self.bucket, name, **options)]


@pytest.fixture
def clinic() -> Iterator[Clinic]:
    clinic = Clinic()
    with clinic.bucket:
        yield clinic


def test_a_healthy_queue_has_no_findings_and_nothing_is_written(clinic: Clinic) -> None:
    before = {entry.key for entry in clinic.store.list("").entries}
    assert clinic.codes() == []
    assert clinic.codes(None) == []
    assert clinic.sick.writes == []
    assert clinic.codes(write=True, conditions=True) == []
    assert len(clinic.sick.writes) > 10
    assert all(key.startswith("jobs/probe-") for key in clinic.sick.writes)
    assert {entry.key for entry in clinic.store.list("").entries} == before


@pytest.mark.parametrize(
    ("verb", "code", "options"),
    [
        ("LIST", "permission-list", {}),
        ("GET", "permission-get", {}),
        ("PUT", "permission-put", {"write": True}),
        ("PUT", "permission-put", {"conditions": True}),
        ("DELETE", "permission-delete", {"write": True}),
        ("RULES", "rules-unknown", {}),
    ],
)
def test_a_verb_that_is_refused_is_named(clinic: Clinic, verb: str, code: str, options: dict[str, bool]) -> None:
    clinic.sick.denied = {verb}
    found = {finding.code: finding for finding in doctor(clinic.bucket, "jobs", **options)}
    assert code in found
    assert f"{verb} is denied" in found[code].evidence
    assert found.keys() - {code} <= {"unread"}  # the parts of the snapshot that need LIST


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("no-credentials", "credentials"),
        ("bad-credentials", "credentials"),
        ("bucket-missing", "store-refused"),
        ("clock-skew", "store-refused"),
    ],
)
def test_without_a_way_in_that_alone_is_told(clinic: Clinic, reason: str, code: str) -> None:
    clinic.sick.denied, clinic.sick.reason = {"GET", "LIST"}, reason
    assert clinic.codes(write=True) == [code]


def test_a_store_that_does_not_answer_is_given_up_soon(clinic: Clinic) -> None:
    clinic.sick.down = True
    began = clinic.clock.monotonic()
    assert clinic.codes() == ["unreachable"]
    assert clinic.clock.monotonic() - began < 15


def test_clock_pace_and_conditions_of_the_store_are_looked_at(clinic: Clinic) -> None:
    clinic.sick.offset_ms = -90_000
    (found,) = [each for each in doctor(clinic.bucket, "jobs") if each.code == "clock-offset"]
    assert "-90.0 s" in found.evidence
    clinic.sick.offset_ms, clinic.sick.takes_s = 0, 0.6
    assert "store-slow" in clinic.codes()
    clinic.sick.takes_s, clinic.sick.careless = 0.0, True
    assert clinic.codes(conditions=True) == ["conditions-broken"]


def rule(prefix: str = "jobs/", **changes: bool) -> LifecycleRule:
    known = {"enabled": True, "partly": False, "expires": False, "expires_noncurrent": False}
    return LifecycleRule("r", prefix, **{**known, **changes})


@pytest.mark.parametrize(
    ("rules", "versioned", "codes"),
    [
        ((rule(expires=True),), False, ["lifecycle-expires"]),
        ((rule("", expires=True, partly=True),), False, ["lifecycle-expires"]),
        ((rule("jobs/history/", expires=True),), False, ["lifecycle-expires"]),
        ((rule("other/", expires=True), rule(expires=True, enabled=False)), False, []),
        ((), True, ["versions-pile-up"]),
        (
            (rule("other/", expires_noncurrent=True), rule(expires_noncurrent=True, partly=True)),
            True,
            ["versions-pile-up"],
        ),
        ((rule(expires_noncurrent=True),), True, []),
    ],
)
def test_rules_of_the_bucket_are_judged(
    clinic: Clinic, rules: tuple[LifecycleRule, ...], versioned: bool, codes: list[str]
) -> None:
    clinic.sick.rules, clinic.sick.versioned = rules, versioned
    assert clinic.codes() == codes


def test_what_changes_is_seen_by_watching(clinic: Clinic) -> None:
    queue = clinic.queue()
    queue.enqueue(1)
    advance = clinic.clock.advance

    def die_meanwhile(seconds: float) -> None:
        advance(seconds)
        if seconds == 60:
            queue.process_once(fail)

    clinic.clock.advance = die_meanwhile  # type: ignore[method-assign]
    (found,) = [each for each in doctor(clinic.bucket, "jobs", watch_s=60) if each.code == "dlq-growing"]
    assert "1 more since" in found.evidence


def test_bad_names_and_queues_that_cannot_be_read(clinic: Clinic) -> None:
    with pytest.raises(InvalidName):
        doctor(clinic.bucket, "../x")
    assert clinic.codes("none") == ["no-queue"]
    clinic.store.put("broken/queue.json", b'{"format":"s3queue.queue/99"}', CREATE)
    clinic.store.put("torn/queue.json", b"{", CREATE)
    found = {(finding.code, finding.queue) for finding in doctor(clinic.bucket)}
    assert found == {("newer-format", "broken"), ("corrupt", "torn")}


@pytest.mark.usefixtures("aws_keys")
def test_rules_are_read_from_s3() -> None:
    with mock_aws(), Bucket("prod") as bucket:
        client = boto3.client("s3")
        client.create_bucket(Bucket="prod")
        assert bucket.lifecycle_rules() == ()
        assert doctor(bucket) == []
        client.put_bucket_versioning(Bucket="prod", VersioningConfiguration={"Status": "Enabled"})
        rules = [
            {"ID": "live", "Filter": {"Prefix": "s3queue/a/"}, "Status": "Enabled", "Expiration": {"Days": 3}},
            {
                "ID": "tagged",
                "Filter": {"And": {"Prefix": "s3queue/", "Tags": [{"Key": "a", "Value": "b"}]}},
                "Status": "Enabled",
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            },
        ]
        client.put_bucket_lifecycle_configuration(Bucket="prod", LifecycleConfiguration={"Rules": rules})  # type: ignore[typeddict-item]
        assert bucket.lifecycle_rules() == (
            LifecycleRule("live", "s3queue/a/", True, False, True, False),
            LifecycleRule("tagged", "s3queue/", True, True, False, True),
        )
        assert [finding.code for finding in doctor(bucket)] == ["lifecycle-expires", "versions-pile-up"]
