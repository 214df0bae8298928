"""Manifests hold against Kubernetes' schemas, policies against IAM enforcement with the real engine, rules against S3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import kubernetes_validate
import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from moto import mock_aws, settings
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends

from s3queue import NonRetriable, Queue, S3QueueError, StoreRefused, Worker
from s3queue.cli.working import worker as worker_command
from s3queue.presets import PRESETS
from s3queue.runtime.tuning import Tuning
from s3queue.store.port import CREATE, Page
from s3queue.store.s3 import S3Store
from s3queue_admin.actions import plan
from s3queue_admin.bucket import Bucket
from s3queue_admin.checkup import doctor
from s3queue_admin.deploy import ROLES, lifecycle, manifests, policy
from s3queue_admin.invariants import fsck
from tests.store.faulty import Wrapper

ROOT = Path(__file__).resolve().parents[2]

# -- manifests --


def documents(text: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


ACCOUNT = "123456789012"  # moto's
ROLE = f"arn:aws:iam::{ACCOUNT}:role/s3queue-worker"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pods": 1},
        {"pods": 1000, "role_arn": ROLE, "region": "eu-central-1"},
        {"pods": 3, "max_pods": 30, "endpoint_url": "http://minio:9000", "env": {"A": 'x: "y" # {{ z }}\n- b\t'}},
    ],
)
def test_manifests_hold_against_the_schemas_of_kubernetes(options: dict[str, Any]) -> None:
    text = manifests(**options)
    found = documents(text)
    for version in ("1.28", kubernetes_validate.latest_version()):
        for document in found.values():
            kubernetes_validate.validate(document, version, strict=True)
    names = {document["metadata"]["name"] for document in found.values()}
    assert names == {"s3queue-worker"}
    expected = {"ServiceAccount", "Deployment", "PodDisruptionBudget"}
    assert found.keys() == (expected | {"HorizontalPodAutoscaler"} if "max_pods" in options else expected)


def container(found: dict[str, dict[str, Any]]) -> Any:
    (only,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize(
    ("pods", "preset"),
    [
        (1, "balanced"), (9, "balanced"), (10, "fleet-10-25"), (26, "fleet-25-50"), (100, "fleet-50-100"),
        (101, "fleet-100-200"), (1000, "fleet-200-1000"),
    ],
)  # fmt: skip
def test_a_fleet_gets_the_preset_for_its_size_and_a_command_that_s3queue_takes(pods: int, preset: str) -> None:
    found = documents(manifests(pods, shutdown_grace=40))
    pod = found["Deployment"]["spec"]["template"]["spec"]
    command, *arguments = container(found)["args"]
    assert (container(found)["command"], command) == (["s3queue"], "worker")
    environment = {entry["name"]: entry.get("value") for entry in container(found)["env"]}
    given = worker_command.make_context("worker", arguments).params  # refuses what it does not know
    assert (given["handler"], given["preset"], given["health_host"]) == ("app:handler", preset, "0.0.0.0")
    tuning = Tuning.of(given["preset"], shutdown_grace=given["shutdown_grace"], health_port=given["health_port"])
    assert tuning.concurrency == PRESETS[preset].worker["concurrency"]
    assert pod["terminationGracePeriodSeconds"] > tuning.shutdown_grace == 40
    known = {param.envvar for param in worker_command.params}
    assert {name for name in environment if name.startswith("S3QUEUE_")} <= known
    assert found["Deployment"]["spec"]["replicas"] == pods
    port = container(found)["ports"][0]
    assert (port["name"], port["containerPort"]) == ("health", tuning.health_port)
    for probe, path in (("livenessProbe", "/healthz"), ("startupProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container(found)[probe]["httpGet"] == {"path": path, "port": "health"}


def test_hostile_values_stay_values() -> None:
    nasty = 'a"\n  evil: {{ 7 * 7 }}\n---\nkind: Pod # \u202e</script>'
    found = documents(manifests(2, env={"NASTY": nasty}))
    assert {"name": "NASTY", "value": nasty} in container(found)["env"]
    assert found.keys() == {"ServiceAccount", "Deployment", "PodDisruptionBudget"}


def test_credentials_come_from_a_role_or_a_secret() -> None:
    with_role = documents(manifests(2, role_arn=ROLE))
    assert with_role["ServiceAccount"]["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE}
    assert "envFrom" not in container(with_role)
    assert container(documents(manifests(2)))["envFrom"] == [{"secretRef": {"name": "s3queue-aws"}}]


@pytest.mark.parametrize(
    "options",
    [
        {"pods": 0}, {"pods": 1001}, {"pods": True}, {"pods": 5, "max_pods": 4}, {"name": "Über"}, {"name": "a\nb"},
        {"handler": "app"}, {"handler": "app:handler; rm"}, {"image": "a b"}, {"queue": "a/b"}, {"prefix": "../"},
        {"secret": "{{ x }}"}, {"role_arn": "arn:aws:iam::1:user/x"}, {"cpu": "lots"}, {"preset": "none"},
        {"env": {"A-B": "x"}}, {"env": {"A": 1}}, {"endpoint_url": "ftp://x"}, {"unknown": 1}, {"bucket": "a/b"},
    ],
)  # fmt: skip
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(S3QueueError) as error:
        manifests(**options)
    assert error.value.remedy


def test_the_wheel_has_every_file_of_both_packages() -> None:
    included = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    files = [path for package in ("s3queue", "s3queue_admin") for path in (ROOT / package).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}
    assert {"s3queue/py.typed", "s3queue_admin/py.typed", "s3queue_admin/cost/prices.toml"} <= names
    assert names <= included


# -- policies --


class Watched(Wrapper):
    """The store under a role: deletes one by one, as moto enforces no others, and notes what was listed."""

    def __init__(self, store: S3Store) -> None:
        super().__init__(store)
        self.listed: set[str] = set()

    def delete_many(self, keys: Sequence[str]) -> tuple[str, ...]:
        for key in keys:
            self.inner.delete(key)
        return ()

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Page:
        self.listed.add(prefix)
        return super().list(prefix, after, limit)


class Account:
    """A bucket in an account that enforces IAM, and a store for each role."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        s3_backends[ACCOUNT]["aws"].create_bucket("prod", "us-east-1")
        self.users = iam_backends[ACCOUNT]["aws"]
        self.stores: dict[str, Watched] = {}
        monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)

    def store(self, role: str) -> Watched:
        """The bucket as a user of that role has it."""
        if role not in self.stores:
            self.users.create_user("us-east-1", role)
            self.users.put_user_policy(role, role, json.dumps(enforceable(policy(role, "prod"))))
            key = self.users.create_access_key(role)
            credentials: Any = {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}
            self.stores[role] = Watched(S3Store("prod", region="us-east-1", **credentials))
        return self.stores[role]

    def queue(self, role: str, name: str = "jobs", *, probe: bool = False, **options: Any) -> Queue:
        return Queue(name, store=self.store(role), prefix="s3queue/", probe=probe, **options)

    def bucket(self, role: str) -> Bucket:
        return Bucket(url="memory://x/s3queue/", store=self.store(role))


def enforceable(document: dict[str, Any]) -> dict[str, Any]:
    """The policy without conditions, as moto refuses all that has one; those are judged by what is listed."""
    statements = [{name: part for name, part in each.items() if name != "Condition"} for each in document["Statement"]]
    return {**document, "Statement": statements}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with mock_aws():
        yield Account(monkeypatch)


def fail(payload: Any) -> None:
    if payload == "bad":
        raise NonRetriable("bad")
    if payload == "slow":
        raise ValueError("try again")


def work(account: Account) -> None:
    """All that workers do: make the queue, process, fail, keep results, locks, deduplicate, beat, sweep, clean up."""
    with account.queue("worker", results=True, history=True) as queue:
        queue.enqueue_many(["good", "bad", "slow"])
        queue.enqueue("once", dedup_id="x", priority=5)
        worker = Worker(queue, fail, poll_interval=0.05)

        def stop(_: object) -> None:
            worker.stop(wait=False)

        queue.on("message-dead", stop)
        worker.run()
        with queue.lock("l", ttl=5):
            pass
        assert queue.clear_processed_cache() == 1
        queue.connect().lanes.first.sweeper.sweep()
    assert queue.stats().dead == 1


def test_a_worker_can_do_its_work_and_not_wreck_the_books(account: Account) -> None:
    work(account)
    store = account.store("worker")
    areas = {key.split("/")[2] for key in keys(store)}
    assert {"dlq", "history", "inbox", "ledger", "locks", "queue.json", "results"} <= areas
    for area in ("probe-1", "settled/0000"):
        store.put(f"s3queue/jobs/{area}/x", b"", CREATE)
    for area in ("probe-1", "results", "history", "settled", "workers", "locks", "dlq"):
        for key in keys(store, f"s3queue/jobs/{area}/"):
            store.delete(key)  # what retention, sweeps and the last heartbeat do later
    refused(
        account,
        "worker",
        deletes=["ledger/0000.json", "queue.json", "schedules/s.json"],
        puts=["audit/1", "schedules/s.json"],
    )
    with pytest.raises(StoreRefused, match="s3:PutObject"):
        account.queue("worker").schedule("s", cron="0 * * * *", payload=1)


def test_a_producer_can_enqueue_and_nothing_else(account: Account) -> None:
    with pytest.raises(StoreRefused, match="s3:PutObject"):
        account.queue("producer", "unmade", probe=True).enqueue(1)
    work(account)
    queue = account.queue("producer")
    queue.enqueue({"a": 1})
    queue.enqueue_many(range(20))
    queue.enqueue("once", dedup_id="y")
    queue.enqueue("urgent", priority=7)
    with pytest.raises(StoreRefused, match="s3:PutObject"):
        queue.receive(1)
    refused(
        account,
        "producer",
        deletes=["inbox/0000/x", "dedup/x"],
        puts=["ledger/0000.json", "dlq/x", "results/x", "workers/x", "audit/x"],
        gets=["dlq/x", "audit/x", "workers/x"],
    )


def test_a_viewer_sees_everything_and_changes_nothing(account: Account) -> None:
    work(account)
    with account.bucket("viewer") as bucket:
        assert bucket.snapshot().queues["jobs"].stats.dead == 1
        assert bucket.inspect("jobs").problems == ()
        assert fsck(bucket, "jobs", deep=True, pause_s=0.01).status == "clean"
        codes = {finding.code for each in ("jobs", None) for finding in doctor(bucket, each)}
        assert not codes & {"permission-get", "permission-list", "rules-unknown", "unread"}
        assert "permission-put" in {finding.code for finding in doctor(bucket, "jobs", write=True)}
    queue = account.queue("viewer")
    for change in (queue.pause, lambda: queue.enqueue(1), lambda: queue.dlq.replay([dead(queue)]), queue.truncate):
        with pytest.raises(StoreRefused, match="s3:PutObject"):
            change()
    every = ["inbox/0000/x", "ledger/0000.json", "queue.json", "dlq/x", "audit/x", "probe-1/x"]
    refused(account, "viewer", deletes=every, puts=every)


def test_an_operator_can_repair_and_not_wreck_the_books(account: Account) -> None:
    work(account)
    queue = account.queue("operator")
    queue.pause()
    queue.resume()
    queue.configure(max_attempts=7)
    assert plan(queue, "replay", dead(queue), payload="mended").apply(reason="tests").exit_code == 0
    queue.schedule("s", cron="0 * * * *", payload=1)
    assert queue.unschedule("s")
    account.queue("worker").lock("held", ttl=60, renew=False).acquire()
    assert queue.break_lock("held")
    queue.truncate()
    account.store("operator").put("s3queue/jobs/audit/1-x.json", b"{}", CREATE)
    with account.bucket("operator") as bucket:
        codes = {finding.code for finding in doctor(bucket, "jobs", write=True)}
        assert not {code for code in codes if code.startswith("permission")}
    wreck = ["ledger/0000.json", "queue.json", "schedules/s.json", "audit/1-x.json", "results/x", "history/x"]
    refused(account, "operator", deletes=wreck, puts=["results/x", "history/x", "workers/x"])


def dead(queue: Queue) -> str:
    return next(queue.dlq.each()).id


def keys(store: Watched, prefix: str = "s3queue/") -> list[str]:
    return [entry.key for entry in store.inner.list(prefix).entries]


def refused(
    account: Account, role: str, *, puts: Sequence[str] = (), deletes: Sequence[str] = (), gets: Sequence[str] = ()
) -> None:
    """Check that a role is refused these, and everything outside of its prefix; and lists only what its condition lets it."""
    store, root = account.store(role), "s3queue/jobs/"
    tries: list[tuple[Callable[[str], object], str]] = [
        *((lambda key: store.put(key, b"", CREATE), root + key) for key in puts),
        *((store.delete, root + key) for key in deletes),
        *((store.get, root + key) for key in gets),
        *((request, "other/x") for request in (store.get, store.delete, lambda key: store.put(key, b"", CREATE))),
    ]
    for request, key in tries:
        with pytest.raises(StoreRefused) as error:
            request(key)
        assert error.value.reason == "access-denied", (role, key)
    (listing,) = [each for each in policy(role, "prod")["Statement"] if each["Sid"] == "List"]
    (pattern,) = listing["Condition"]["StringLikeIfExists"]["s3:prefix"]
    assert store.listed
    assert {prefix for prefix in store.listed if not fnmatchcase(prefix, pattern)} == set()
    assert not fnmatchcase("other/", pattern)


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_of_one_queue_names_no_other_and_fits_into_a_managed_policy(role: str) -> None:
    document = policy(role, "prod", "team/", queue="emails", partition="aws-cn")
    text = json.dumps(document, separators=(",", ":"))
    assert len(text) < 6144
    for statement in document["Statement"]:
        resources = [statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"]
        assert all(
            each == "arn:aws-cn:s3:::prod" or each.startswith("arn:aws-cn:s3:::prod/team/emails/") for each in resources
        )
        assert all(
            "*" not in action
            for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        )
    assert '"team/emails/*"' in text


def test_a_producer_of_an_ordered_queue_may_write_ledgers() -> None:
    ordered = policy("producer", "prod", ordered=True)["Statement"][1]["Resource"]
    plain = policy("producer", "prod")["Statement"][1]["Resource"]
    assert set(ordered) - set(plain) == {"arn:aws:s3:::prod/s3queue/*/ledger/*"}
    assert policy("viewer", "prod", ordered=True) == policy("viewer", "prod")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("admin", "prod"), {}), (("worker", "s3://prod"), {}), (("worker", "*"), {}), (("worker", "prod", "../"), {}),
        (("worker", "prod"), {"queue": "*"}), (("worker", "prod"), {"partition": "mars"}),
    ],
)  # fmt: skip
def test_bad_names_make_no_policy(arguments: tuple[str, ...], options: dict[str, Any]) -> None:
    with pytest.raises(S3QueueError):
        policy(*arguments, **options)


# -- rules --


@pytest.mark.usefixtures("aws_keys")
def test_the_lifecycle_rules_are_taken_by_s3_and_satisfy_the_doctor() -> None:
    with mock_aws(), Bucket("prod") as bucket:
        client = boto3.client("s3")
        client.create_bucket(Bucket="prod")
        client.put_bucket_versioning(Bucket="prod", VersioningConfiguration={"Status": "Enabled"})
        assert [finding.code for finding in doctor(bucket)] == ["versions-pile-up"]
        rules = json.loads(json.dumps(lifecycle(noncurrent_days=3)))
        client.put_bucket_lifecycle_configuration(Bucket="prod", LifecycleConfiguration=rules)
        (rule,) = bucket.lifecycle_rules()
        assert (rule.prefix, rule.enabled, rule.expires, rule.expires_noncurrent) == ("s3queue/", True, False, True)
        assert doctor(bucket) == []


@pytest.mark.parametrize("days", [0, -1, 1.5, True, "1"])
def test_days_are_whole_and_at_least_one(days: Any) -> None:
    with pytest.raises(S3QueueError):
        lifecycle(noncurrent_days=days)
