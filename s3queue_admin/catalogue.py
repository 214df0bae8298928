"""Every check by its code: how bad it is, what it means, what to do. Pure; findings, doctor and fsck only detect.

:data:`TROUBLESHOOTING` says which checks answer which complaint; docs/operator.md shows the same two tables, and a test
holds them equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from s3queue_admin.snapshot import Finding, Severity

MAX_KEYS = 100
"""How many keys a finding names at most; its evidence has the whole number."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A check: its ``code``, ``severity``, what is the matter when it strikes (``title``), and what to do (``remedy``)."""

    code: str
    severity: Severity
    title: str
    remedy: str

    def found(self, evidence: str, keys: Iterable[str] = (), queue: str = "") -> Finding:
        """Return the finding with its evidence; the remedy names the queue; of many keys the first :data:`MAX_KEYS` are kept."""
        remedy = self.remedy.replace("QUEUE", queue or "QUEUE")
        return Finding(self.code, self.severity, self.title, evidence, remedy, tuple(keys)[:MAX_KEYS], queue)


_WORK = (
    Kind("no-workers", "error", "Messages wait and nobody works.",
         "Start workers: `s3queue worker MODULE:FUNCTION --queue QUEUE`, or Worker(q, handler).run(); a queue that is only "
         "opened processes nothing."),
    Kind("not-visible", "info", "All that waits is scheduled for later.",
         "Nothing, if delays and backoffs are meant to be that long; else look at delay=, visible_at= and the "
         "retry policy."),
    Kind("paused-backlog", "warning", "The queue is paused and messages wait.",
         "Resume it when the reason is gone: `s3queue-admin resume QUEUE`."),
    Kind("backlog-old", "warning", "The oldest message waits longer than the workers' pace explains.",
         "Add workers or concurrency; look at slow handlers, and whether messages of a higher priority go first "
         "all the time."),
    Kind("no-coordinator", "warning", "A lane has no coordinator, so each worker lists for itself.",
         "It takes over within seconds if any worker may lead: leave coordinate=True on some; look for workers "
         "that cannot write the ledger."),
    Kind("coordinator-churn", "warning", "The coordinator changes again and again.",
         "Look for workers that restart or stall; keep poll_interval well below 14 s, as a term lasts 20 s; "
         "watch the store's latency."),
    Kind("stalled", "warning", "Claims ran out and nobody has rescued them yet.",
         "Sweeps rescue them within a minute while a worker lives; `s3queue-admin stuck list QUEUE` explains each, "
         "`s3queue-admin stuck reset QUEUE --older-than 1m` gives them back now."),
    Kind("not-swept", "warning", "A lane has not been swept for long.",
         "Its coordinator may be stuck or lack s3:ListBucket: look at its log; restart it, and another takes over."),
    Kind("held-long", "warning", "Messages have been in the hands of living workers for very long.",
         "Look for handlers that hang (set handler_timeout), for manual_ack without an ack, and for handlers "
         "that swallow an error and wait."),
    Kind("worker-dead", "warning", "A worker's heartbeat stopped; it never said that it leaves.",
         "See why it ended (out of memory? killed after too short a grace?). Its claims are rescued by the "
         "coordinator."),
    Kind("worker-late", "warning", "A worker's heartbeat is overdue.",
         "It may be paused, starved of CPU or cut off from the store: look at its /healthz and its log."),
    Kind("worker-unlisted", "info", "Somebody holds messages and is not in the registry of workers.",
         "Right for receive(), process_once() and bursts; anybody else died long ago, and its claims are rescued "
         "when they run out."),
    Kind("held-much", "info", "A worker holds very many messages in memory.",
         "If memory is short: lower prefetch or concurrency, enqueue keys of large objects instead of their "
         "contents, collect no results in the handler."),
)  # fmt: skip

_OUTCOMES = (
    Kind("duplicates", "warning", "Many claims run out, so handlers run again.",
         "Look for crashes and for processes paused past their lease; raise visibility_timeout; make handlers "
         "idempotent."),
    Kind("lease-lost-alive", "warning", "Workers that live have lost claims.",
         "They could not extend them in time: raise it (`s3queue-admin configure QUEUE visibility_timeout=60s`), give "
         "them CPU, use executor='process' for what computes."),
    Kind("poison", "warning", "Messages have outlived several workers: one of them may be what kills them.",
         "They are claimed apart and die after max_attempts; look at the payload and at what its workers died of."),
    Kind("dead-letters", "info", "There are dead letters.",
         "They are kept for ever: group them by error (`s3queue-admin dlq groups QUEUE`), mend the cause, then "
         "replay or discard them."),
    Kind("dlq-grown", "warning", "Messages died within the last hour.",
         "Group the latest by error: `s3queue-admin dlq groups QUEUE`; mend the cause, then replay or discard "
         "them."),
    Kind("dlq-growing", "warning", "Messages are dying now.",
         "Group the latest by error: `s3queue-admin dlq groups QUEUE`; pause the queue if the cause is outside, "
         "mend it, then replay."),
    Kind("failing", "warning", "A large share of attempts fails.",
         "See the errors in the dead letters and logs; raise NonRetriable for what never will work, RetryLater "
         "for what is down."),
    Kind("missing", "error", "Message objects vanished before they were processed.",
         "Somebody else deletes below the queue's prefix, most likely a lifecycle rule that expires objects: "
         "take it off (`s3queue-admin doctor`)."),
)  # fmt: skip

_COST = (
    Kind("lost-races", "warning", "Many commits lose a race: each is a PUT for nothing.",
         "Give the queue more lanes: `s3queue-admin configure QUEUE lanes=auto`, or a number; or use fewer, larger "
         "workers."),
    Kind("throttled", "warning", "The store asked to slow down.",
         "Raise poll_interval; use fewer workers with more concurrency, more lanes, enqueue_many; on AWS ask for "
         "a prefix partition."),
    Kind("requests-near-limit", "warning", "The queue is near what S3 takes on one prefix.",
         "S3 takes 5,500 reads and 3,500 writes a second and prefix: raise poll_interval, batch enqueues, spread "
         "work over queues."),
    Kind("ledger-large", "warning", "A ledger is large, and every commit writes it whole.",
         "Hold fewer messages (prefetch), enqueue in batches, use more lanes; if settled names fill it, see "
         "settled-left."),
    Kind("settled-left", "warning", "Settled messages are not cleaned up.",
         "Workers lack s3:DeleteObject on inbox/, or s3:PutObject on settled/, or none has worked for long: "
         "`s3queue-admin doctor --write`."),
    Kind("outbox-old", "warning", "Moves that were decided are not carried out.",
         "A sweep finishes them within half a minute: if workers live, look in their logs for what refuses them "
         "(a permission, a corrupt source)."),
    Kind("results-on", "info", "Every result is written: a PUT a message.",
         "If nobody reads them: `s3queue-admin configure QUEUE results=false`."),
    Kind("history-on", "info", "Every attempt is recorded.",
         "If nobody analyses it: `s3queue-admin configure QUEUE history=false`."),
)  # fmt: skip

_SETTINGS = (
    Kind("visibility-short", "warning", "The visibility timeout is too short for a store that is slow now and then.",
         "Use 10 s or more (`s3queue-admin configure QUEUE visibility_timeout=30s`): requests to S3 may take seconds, "
         "and claims are extended anyway."),
    Kind("lanes-many", "warning", "There are more lanes than workers.",
         "Workers visit the other lanes only now and then: `s3queue-admin configure QUEUE lanes=auto`, or a number, at "
         "most one for two workers."),
    Kind("strict-idle", "info", "A strictly ordered queue has one worker at work; the others stand by.",
         "Two are enough; if only messages of one group must keep their order, make another queue, with "
         "order='strict-group'."),
    Kind("unprobed", "warning", "The store's conditional writes were never tested.",
         "Run `s3queue probe`: on a store that ignores If-Match (ETags) messages are lost and doubled in silence."),
    Kind("versions-mixed", "info", "Workers of different versions are at work.",
         "Right while a new version is rolled out; else upgrade the old ones."),
    Kind("clock-skew", "warning", "The clock of a worker differs from the store's.",
         "Keep clocks by NTP: beyond two seconds claims may be rescued too early, beyond fifteen minutes S3 "
         "refuses them."),
    Kind("lock-expired", "warning", "A lock ran out and its holder has not given it back.",
         "Its holder is dead or held up; the next who wants it gets it. `s3queue lock release NAME --queue QUEUE "
         "--yes` frees it now."),
    Kind("schedule-never", "warning", "A schedule never fires again.",
         "Mend its cron line or remove it: `s3queue schedule remove NAME --queue QUEUE`."),
    Kind("schedule-missed", "warning", "A tick was due and has not been fired.",
         "Schedules are fired by the coordinator of the first lane: is there one? Else the tick is made up for "
         "as catch_up says."),
)  # fmt: skip

_OBJECTS = (
    Kind("foreign", "warning", "Objects below the queue's prefix are none of s3queue's.",
         "They are left alone, and read again by every listing: move them away."),
    Kind("corrupt", "error", "Objects of the queue cannot be read.",
         "They are left as they are: restore an earlier version, or move them away; what they hold waits until "
         "then."),
    Kind("newer-format", "error", "Objects were written by a newer s3queue.",
         "Upgrade s3queue here; workers that cannot read them leave them alone."),
    Kind("unread", "warning", "Parts of the queue could not be read, so this is not the whole picture.",
         "See the error: a permission that is missing, or a store that does not answer."),
)  # fmt: skip

_LIVE = (
    Kind("unreachable", "error", "The store does not answer.",
         "Check the endpoint, the name, proxies and firewalls; on AWS, a VPC endpoint."),
    Kind("credentials", "error", "The credentials are missing, wrong or expired.",
         "Set them as for the AWS CLI (`aws sts get-caller-identity` tells whom they name), or give the pod its "
         "role."),
    Kind("store-refused", "error", "The store refuses this client.",
         "The error says why: bucket, region, endpoint or clock."),
    Kind("no-queue", "error", "There is no such queue.",
         "Look at the name and the prefix; a queue is made by its first producer or worker."),
    Kind("permission-list", "error", "LIST is refused.",
         "Allow s3:ListBucket on the bucket for this prefix: `s3queue-admin deploy iam --role …`."),
    Kind("permission-get", "error", "GET is refused.",
         "Allow s3:GetObject below the prefix: `s3queue-admin deploy iam --role …`."),
    Kind("permission-put", "error", "PUT is refused.",
         "Allow s3:PutObject below the prefix: `s3queue-admin deploy iam --role …`."),
    Kind("permission-delete", "error", "DELETE is refused.",
         "Allow s3:DeleteObject below the prefix: `s3queue-admin deploy iam --role …`."),
    Kind("clock-offset", "warning", "This machine's clock differs from the store's.",
         "Keep it by NTP; s3queue goes by the store's time, and S3 refuses requests that are fifteen minutes off."),
    Kind("store-slow", "warning", "The store is slow from here.",
         "Run workers in the bucket's region; a claim costs two or three requests, one after the other."),
    Kind("conditions-broken", "error", "The store breaks conditional writes.",
         "Messages are lost and doubled on it: use another store, or a proxy that passes If-Match and "
         "If-None-Match."),
    Kind("versions-pile-up", "warning", "The bucket keeps versions and no rule ends them.",
         "Every commit leaves a version that is billed: `s3queue-admin deploy lifecycle` prints the rules."),
    Kind("lifecycle-expires", "error", "A lifecycle rule expires objects of the queue.",
         "It deletes messages that wait, and the ledger: take it off or limit it to other prefixes."),
    Kind("rules-unknown", "info", "Versioning and lifecycle rules could not be looked at.",
         "Allow s3:GetBucketVersioning and s3:GetLifecycleConfiguration to have them checked."),
)  # fmt: skip

_FSCK = (
    Kind("invariant", "error", "A ledger breaks a rule that always holds.",
         "Stop the workers, keep a copy of the ledger, and report it: no commit of s3queue writes such a ledger."),
    Kind("object-gone", "error", "A ticket holds messages whose object is not there.",
         "Somebody deleted it (a lifecycle rule?): the claim counts it as missing; restore the object if "
         "versions are kept."),
    Kind("not-adopted", "warning", "Messages lie below the cursor and no ticket holds them.",
         "They came late; the next sweep tickets them. If that does not happen, see not-swept."),
    Kind("ghost", "warning", "Second copies of messages that were processed lie in the inbox.",
         "The next sweep deletes them; they are not processed again."),
    Kind("lane-unserved", "error", "Messages lie in a lane that nobody serves.",
         "Raise the lanes again, `s3queue-admin configure QUEUE lanes=…`, so that workers serve it; look for whoever "
         "changed queue.json by hand."),
    Kind("alive-and-dead", "error", "A message is alive and a dead letter as well.",
         "It may run again: compare both, then discard the letter, or the message."),
    Kind("dead-twice", "warning", "A message has two dead letters.",
         "Replay one of them and discard the other."),
    Kind("ghost-letter", "warning", "Second copies of dead letters that were replayed or discarded.",
         "The next sweep deletes them."),
    Kind("message-twice", "error", "Two objects hold the same message.",
         "It runs twice: look which of them the ledger knows; handlers must be idempotent."),
    Kind("reservation-open", "warning", "Deduplication keys are reserved, and their message was perhaps never written.",
         "A producer died between the two; the next enqueue of the key writes the message. Enqueue it again, if "
         "it is wanted."),
    Kind("group-blocked", "warning", "An ordered group is held back by a message that is not there.",
         "The next sweep lets it go, after two minutes; if not, see not-swept."),
    Kind("order-unkept", "info", "Ordered messages lie in a queue that is not strictly ordered.",
         "They keep their order all the same; the setting was changed after they were enqueued."),
    Kind("probe-left", "info", "A probe of the store has left objects behind.",
         "Delete them: no process uses them."),
    Kind("check-cut", "info", "There was more to tell than is kept.",
         "Mend what is found, and check again."),
)  # fmt: skip

KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.code: kind for kind in (*_WORK, *_OUTCOMES, *_COST, *_SETTINGS, *_OBJECTS, *_LIVE, *_FSCK)}
)
"""Every check by its code."""

TROUBLESHOOTING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "No messages processed: are workers started?": ("no-workers", "worker-dead", "worker-late"),
        "No messages processed: is it stopped on purpose (autoStart)?": ("paused-backlog", "no-workers"),
        "No messages processed: are messages visible?": ("not-visible", "backlog-old"),
        "High duplication: locks and their times to live": ("lock-expired", "lease-lost-alive", "visibility-short"),
        "High duplication: what happens to each message": ("duplicates", "poison"),
        "High duplication: does the store keep ETags?": ("unprobed", "conditions-broken"),
        "Stuck in processing: did a worker crash?": ("worker-dead", "worker-unlisted", "stalled", "not-swept"),
        "Stuck in processing: is the visibility timeout too short?": (
            "visibility-short",
            "lease-lost-alive",
            "clock-skew",
        ),
        "Stuck in processing: are errors of the handler swallowed?": ("held-long",),
        "Stuck in processing: reset what is stuck for minutes": ("stalled", "held-long"),
        "Memory: clear caches": ("ledger-large", "settled-left"),
        "Memory: reduce concurrency": ("held-much",),
        "Memory: keep less for less long": ("results-on", "history-on"),
        "Memory: large objects in handlers": ("held-much",),
        "Dead letters: group them by error": ("dead-letters", "dlq-grown", "dlq-growing"),
        "Dead letters: mend the cause and process them again": (
            "dlq-growing",
            "failing",
            "dead-twice",
            "alive-and-dead",
        ),
        "Debug mode: see everything": ("corrupt", "newer-format", "foreign", "unread"),
        "At scale: throttling and requests a second": ("throttled", "requests-near-limit", "lost-races"),
        "At scale: stalled tickets": ("stalled",),
        "At scale: no coordinator, or one after the other": ("no-coordinator", "coordinator-churn"),
    }
)
"""Which checks answer the entries of the troubleshooting chapter of s3db.js's guide, and its advice on monitoring."""
