"""What it takes to run in production: manifests for Kubernetes, IAM policies by role, lifecycle rules. Text and data only."""

from s3queue_admin.deploy.iam import ROLES, policy
from s3queue_admin.deploy.kubernetes import Fleet, manifests
from s3queue_admin.deploy.rules import lifecycle

__all__ = ["ROLES", "Fleet", "lifecycle", "manifests", "policy"]
