"""Manifests for a fleet of workers on Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from s3queue.core.keys import check_prefix, check_queue_name
from s3queue.errors import InvalidName, InvalidSetting
from s3queue.presets import PRESETS, Preset, find

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_HANDLER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_IMAGE = re.compile(r"[a-z0-9][\w.:/@-]{0,254}")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ROLE = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+")
STOPPING_S = 15
"""What a pod has beyond the worker's own grace: to give back claims, leave the registry and end."""
MAX_PODS = 1_000
_DEFAULT = "balanced"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What to run: ``pods`` workers of ``queue`` in ``bucket``, each with ``handler`` (MODULE:FUNCTION) of ``image``.

    ``preset``: as :mod:`s3queue.presets` has it; by default the one for so many pods. ``max_pods``: scale up to as many
    by CPU. Credentials: ``role_arn``, an IAM role for the service account (EKS), or ``secret``, the name of a Secret with
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. ``shutdown_grace``: seconds that handlers get when a pod is stopped.
    ``env``: further variables. InvalidSetting or InvalidName for what Kubernetes or s3queue would not take.
    """

    pods: int = 100
    bucket: str = "my-bucket"
    queue: str = "jobs"
    handler: str = "app:handler"
    image: str = "my-app:1.0"
    name: str = "s3queue-worker"
    namespace: str = "default"
    prefix: str = "s3queue/"
    endpoint_url: str | None = None
    region: str | None = None
    preset: str | None = None
    concurrency: int | None = None
    max_pods: int | None = None
    role_arn: str | None = None
    secret: str = "s3queue-aws"  # noqa: S105 - its name
    health_port: int = 8080
    shutdown_grace: int = 30
    cpu: str = "250m"
    memory: str = "512Mi"
    memory_limit: str = "1Gi"
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_queue_name(self.queue)
        check_prefix(self.prefix)
        for what, low, high in (("pods", 1, MAX_PODS), ("health_port", 1, 65_535), ("shutdown_grace", 0, 86_400)):
            _check_number(what, getattr(self, what), low, high)
        if self.max_pods is not None:
            _check_number("max_pods", self.max_pods, self.pods, MAX_PODS)
        for what, pattern in _PATTERNS.items():
            value = getattr(self, what)
            if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
                raise InvalidName(f"{what} is {value!r:.100}.", remedy=_REMEDIES[what])
        for name, value in self.env.items():
            if not _VARIABLE.fullmatch(name) or not isinstance(value, str):
                raise InvalidName(f"env has {name!r:.80}: {value!r:.80}.", remedy="Use names and texts of variables.")
        if self.preset is not None:
            find(self.preset)

    @property
    def chosen(self) -> Preset:
        """The preset: the one asked for, or the first that is for so many pods."""
        if self.preset is not None:
            return find(self.preset)
        most = self.max_pods or self.pods
        fleets = (preset for preset in PRESETS.values() if preset.workers[1] > 1)
        fitting = (preset for preset in fleets if preset.workers[0] <= most <= preset.workers[1])
        return next(fitting, find(_DEFAULT))

    @property
    def arguments(self) -> list[str]:
        """What ``s3queue`` is called with."""
        given = {
            "preset": self.chosen.name,
            "concurrency": self.concurrency,
            "health-host": "0.0.0.0",  # noqa: S104 - the kubelet asks from outside of the pod
            "health-port": self.health_port,
            "shutdown-grace": self.shutdown_grace,
            "log-format": "json",
        }
        options = [text for name, value in given.items() if value is not None for text in (f"--{name}", str(value))]
        return ["worker", self.handler, *options]

    @property
    def variables(self) -> dict[str, str]:
        """What the environment tells the worker, its credentials apart."""
        known = {
            "S3QUEUE_BUCKET": self.bucket,
            "S3QUEUE_QUEUE": self.queue,
            "S3QUEUE_PREFIX": self.prefix,
            "S3QUEUE_ENDPOINT_URL": self.endpoint_url,
            "S3QUEUE_REGION": self.region,
        }
        return {name: value for name, value in known.items() if value} | dict(self.env)


_PATTERNS = {
    "bucket": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "handler": _HANDLER,
    "image": _IMAGE,
    "name": _NAME,
    "namespace": _NAME,
    "secret": _NAME,
    "endpoint_url": re.compile(r"https?://[\w.:\[\]-]+/?"),
    "region": re.compile(r"[a-z0-9-]+"),
    "role_arn": _ROLE,
    "cpu": _QUANTITY,
    "memory": _QUANTITY,
    "memory_limit": _QUANTITY,
}
_REMEDIES = {
    "bucket": "Use the bare name of the bucket.",
    "handler": "Use MODULE:FUNCTION, as in app:handler.",
    "image": "Use a reference like registry.example/app:1.0.",
    "endpoint_url": "Use http:// or https://, a host, a port.",
    "region": "Use a region like eu-central-1.",
    "role_arn": "Use arn:aws:iam::123456789012:role/NAME.",
    **dict.fromkeys(("name", "namespace", "secret"), "Use up to 63 lower-case letters, digits and '-'."),
    **dict.fromkeys(("cpu", "memory", "memory_limit"), "Use a quantity like 250m or 512Mi."),
}


def manifests(pods: int = 100, **options: Any) -> str:
    """Return YAML for ``kubectl apply``: service account, Deployment, PodDisruptionBudget and, for ``max_pods``, an HPA.

    ``options`` are those of :class:`Fleet`; InvalidSetting or InvalidName for one that cannot be.
    """
    unknown = options.keys() - Fleet.__slots__
    if unknown:
        raise InvalidSetting(f"There is no option {min(unknown)!r}.", remedy=f"Use {', '.join(Fleet.__slots__)}.")
    return render(Fleet(pods, **options))


def render(fleet: Fleet) -> str:
    """Return the fleet's manifests; every value is written as JSON, which is YAML, so none can become more than a value."""
    import jinja2

    loader = jinja2.PackageLoader("s3queue_admin.deploy")
    environment = jinja2.Environment(  # noqa: S701 - YAML is no HTML: tojson escapes
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    lanes = fleet.chosen.queue.get("lanes")
    text: str = environment.get_template("workers.yaml.j2").render(
        asdict(fleet),
        arguments=fleet.arguments,
        variables=fleet.variables,
        preset=fleet.chosen,
        lanes=lanes,
        grace=fleet.shutdown_grace + STOPPING_S,
        unavailable=max(1, fleet.pods // 10),
    )
    return text


def _check_number(what: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        more = " For more, spread the work over several queues." if what.endswith("pods") else ""
        raise InvalidSetting(f"{what} is {value!r}.", remedy=f"Use {low} to {high}.{more}")
