"""``s3queue-admin deploy``: manifests, policies and rules on stdout, to be read and applied."""

from __future__ import annotations

import json
from typing import Any

import click

from s3queue.cli.options import decorate, headers, setting
from s3queue.cli.render import put
from s3queue_admin.cli.options import need, with_manners
from s3queue_admin.deploy import ROLES, lifecycle, manifests, policy

_BUCKET = setting("--bucket", required=True, help="S3 bucket.")
_PREFIX = setting(
    "--prefix", default="s3queue/", show_default=True, help="Folders before the queues' own in the bucket."
)


@click.group(short_help="Print manifests, IAM policies, lifecycle rules.")
def deploy() -> None:
    """Print what it takes to run in production, as YAML or JSON. Nothing is sent anywhere."""


_FLEET = (
    _BUCKET,
    _PREFIX,
    setting("--endpoint-url", help="S3 server, if it is not AWS's."),
    setting("--region", help="Region of the bucket."),
    setting("--queue", "-q", required=True, help="Name of the queue."),
    click.option("--pods", type=int, default=100, show_default=True, help="How many workers."),
    click.option("--max-pods", type=int, help="Scale up to so many by CPU."),
    click.option("--image", required=True, help="Image with the handler and s3queue in it."),
    click.option("--handler", required=True, metavar="MODULE:FUNCTION", help="What processes messages."),
    click.option("--name", help="Of the Deployment.  [default: s3queue-worker]"),
    click.option("--namespace", help="[default: default]"),
    click.option("--preset", help="As `s3queue presets` has them.  [default: the one for so many pods]"),
    click.option("--concurrency", type=int, help="Handlers at work at once in a pod.  [default: the preset's]"),
    click.option("--role-arn", help="IAM role of the service account (EKS)."),
    click.option("--secret", help="Secret with the credentials, without a role.  [default: s3queue-aws]"),
    click.option("--health-port", type=int, help="[default: 8080]"),
    click.option("--shutdown-grace", type=int, help="Seconds that handlers get when a pod is stopped.  [default: 30]"),
    click.option("--cpu", help="[default: 250m]"),
    click.option("--memory", help="[default: 512Mi]"),
    click.option("--memory-limit", help="[default: 1Gi]"),
    click.option("--env", multiple=True, metavar="NAME=VALUE", callback=headers, help="May be repeated."),
)


def k8s(output: str, log_format: str, verbose: bool, **options: Any) -> None:  # noqa: ARG001 - with_manners has seen to them
    """Print manifests for Kubernetes: Deployment with probes, PodDisruptionBudget, service account; for `kubectl apply -f -`."""
    need("jinja2", "Manifests")
    given = {name: value for name, value in options.items() if value is not None}
    put(manifests(**given).rstrip("\n"))


deploy.command("k8s", short_help="Print manifests for a fleet on Kubernetes.")(decorate(with_manners(k8s), _FLEET))


@deploy.command(short_help="Print the least policy for a role.")
@click.option("--role", type=click.Choice(list(ROLES)), required=True, help="Who it is for.")
@_BUCKET
@_PREFIX
@setting("--queue", "-q", help="One queue alone.  [default: all below the prefix]")
@click.option("--ordered", is_flag=True, help="A producer of strictly ordered queues, which writes ledgers.")
@click.option("--partition", default="aws", show_default=True, help="aws, aws-cn or aws-us-gov.")
@with_manners
def iam(*, output: str, log_format: str, verbose: bool, role: str, **options: Any) -> None:  # noqa: ARG001
    """Print the IAM policy of a role, as JSON: producer, worker, viewer (sees all, writes nothing) or operator."""
    put(json.dumps(policy(role, **options), indent=2))


@deploy.command("lifecycle", short_help="Print lifecycle rules for a versioned bucket.")
@_PREFIX
@click.option("--noncurrent-days", type=int, default=1, show_default=True, help="How long earlier versions are kept.")
@click.option("--multipart-days", type=int, default=1, show_default=True, help="How long broken uploads are kept.")
@with_manners
def rules(output: str, log_format: str, verbose: bool, prefix: str, **days: int) -> None:  # noqa: ARG001
    """Print lifecycle rules that end earlier versions, and never what is alive.

    As JSON for `aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration file:///dev/stdin`.
    """
    put(json.dumps(lifecycle(prefix, **days), indent=2))
