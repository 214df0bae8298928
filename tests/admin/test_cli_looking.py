"""What each command that looks prints, in each form: data that parses, harmless, without secrets."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import pytest

from s3queue import Queue
from s3queue_admin.cli.render import dollars, span, table
from tests.admin.conftest import EVIL, FORMULA, Admin, fail, fill

LOOKS = {
    "status": (0,),
    "status orders": (0,),
    "watch orders --count 2 --interval 0.01": (0,),
    "ls orders": (0,),
    "ls mails state:dead": (0,),
    "show orders {evil}": (0,),
    "show orders {waits}": (0,),
    "dlq list orders": (0,),
    "dlq groups orders": (0,),
    "dlq show orders {evil}": (0,),
    "stuck list orders": (0,),
    "stuck explain orders {evil}": (0,),
    "audit": (0,),
    "workers": (0,),
    "tickets orders": (0,),
    "locks": (0,),
    "schedules orders": (0,),
    "cost measured orders --over 0": (0,),
    "doctor": (0, 1, 5),
    "fsck orders": (0, 5),
    "export letters orders": (0,),
}
UNPLACED = ("cost estimate messages_per_s=1", "cost what-if messages_per_s=1 workers=1,2", "cost prices")


def check(output: str, text: str) -> None:
    """Data alone, which parses, in which nothing acts on a terminal or a spreadsheet, and no secret shows."""
    assert "hunter2" not in text
    for one in text:
        assert one == "\n" or not unicodedata.category(one).startswith("C"), repr(one)
    if output == "json":
        json.loads(text)
    elif output == "jsonl":
        for line in text.splitlines():
            json.loads(line)
    elif output == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) <= 1
        for cell in (cell for row in rows for cell in row):
            assert not cell.startswith(("=", "+", "@", "|", "\t")), cell


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv"])
@pytest.mark.parametrize("command", LOOKS)
def test_it_writes_harmless_data_in_each_form(admin: Admin, url: str, command: str, output: str) -> None:
    ids = fill(url)
    result = admin(*command.format(**ids).split(), "--url", url, "--output", output)
    if output == "json" and command.startswith("watch"):
        assert result.exit_code == 2
        return
    assert result.exit_code in LOOKS[command], result.stderr
    check("jsonl" if command.startswith("export") and output in ("table", "json") else output, result.stdout)
    assert EVIL not in result.stderr


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv"])
@pytest.mark.parametrize("command", UNPLACED)
def test_costs_come_in_each_form(admin: Admin, command: str, output: str) -> None:
    result = admin(*command.split(), "--output", output)
    assert result.exit_code == 0, result.stderr
    assert result.stdout
    check(output, result.stdout)


def test_status_counts(admin: Admin, url: str) -> None:
    fill(url)
    rows = json.loads(admin("status", "--url", url, "-o", "json").stdout)
    assert {row["queue"]: (row["pending"], row["scheduled"], row["processing"], row["dead"]) for row in rows} == {
        "mails": (0, 3, 0, 0),
        "orders": (1, 0, 1, 3),
    }
    one = json.loads(admin("status", "orders", "--url", url, "-o", "json").stdout)
    assert (one["settings"]["max_attempts"], one["schedules"], one["locks"]) == (1, 1, 1)
    assert "unlisted" in admin("status", "orders", "--url", url).stdout


def test_ls_shows_what_the_filter_matches_and_tells_of_more(admin: Admin, url: str) -> None:
    ids = fill(url)
    found = admin("ls", "orders", "state:dead", "error~timeout", "--url", url, "-o", "jsonl")
    assert {json.loads(line)["payload"]["order"] for line in found.stdout.splitlines()} == {1, 2}
    assert found.stderr == ""
    cut = admin("ls", "orders", "state:dead", "-n", "1", "--url", url, "-o", "json")
    assert [row["id"] for row in json.loads(cut.stdout)] == [ids["dead"]]
    assert "more than 1" in cut.stderr


def test_show_tells_all_of_a_message_and_secrets_only_if_asked(admin: Admin, url: str) -> None:
    ids = fill(url)
    shown = admin("show", "orders", ids["evil"], "--url", url).stdout
    assert r"RuntimeError: \x1b[31mred [bold]x[/bold]" in shown
    assert all(part in shown for part in ("attempt 1 ", "Traceback", "orders/dlq/", "why\n", "payload\n"))
    assert "hunter2" in admin("show", "orders", ids["evil"], "--url", url, "--show-secrets").stdout
    held = json.loads(admin("show", "orders", ids["hand"], "--url", url, "-o", "json").stdout)
    assert (held["state"], held["explanation"]["state"], held["payload"]) == (
        "processing",
        "processing",
        {"order": FORMULA},
    )


def test_a_message_that_is_gone_is_told(admin: Admin, url: str) -> None:
    ids = fill(url)
    Queue.from_url(f"{url}/orders").dlq.discard([ids["dead"]])
    result = admin("show", "orders", ids["dead"], "--url", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no message" in result.stderr


def test_groups_are_of_a_kind(admin: Admin, url: str) -> None:
    fill(url)
    groups = json.loads(admin("dlq", "groups", "orders", "--url", url, "-o", "json").stdout)
    assert [(group["count"], group["type"]) for group in groups] == [(2, "TimeoutError"), (1, "RuntimeError")]
    chosen = admin("ls", "orders", f"fingerprint:{groups[0]['fingerprint'][:4]}", "--url", url, "-o", "jsonl")
    assert len(chosen.stdout.splitlines()) == 2


def test_export_writes_a_whole_file(admin: Admin, url: str, folder: Path) -> None:
    fill(url)
    done = admin(
        "export", "letters", "orders", "--to", "dead.csv", "--columns", "id,payload", "--url", url, "-o", "json"
    )
    assert json.loads(done.stdout)["rows"] == 3
    assert (folder / "dead.csv").read_text().splitlines()[0] == "id,payload"
    assert admin("export", "letters", "orders", "--to", "no/such/x.csv", "--url", url).exit_code == 1
    assert admin("export", "letters", "orders", "--columns", "ID", "--url", url).exit_code == 2
    assert admin("export", "workers", "orders", "age>1m", "--url", url).exit_code == 2


def test_an_export_of_a_history_that_is_not_kept_says_so(admin: Admin, url: str, folder: Path) -> None:
    fill(url)
    for more in ((), ("--to", "h.csv")):
        nothing = admin("export", "history", "orders", *more, "--url", url)
        assert nothing.exit_code == 0
        assert "'orders' keeps no history: `s3queue-admin configure orders history=true`" in nothing.stderr
    assert (folder / "h.csv").read_text().startswith("queue,")  # whole, without rows
    Queue.from_url(f"{url}/orders").configure(history=True)
    with Queue.from_url(f"{url}/orders") as queue:
        queue.process_once(fail)
    kept = admin("export", "history", "orders", "--url", url)
    assert (len(kept.stdout.splitlines()), kept.stderr) == (1, "")
    early = admin("export", "history", "orders", "--until", "1d", "--url", url)
    assert (early.exit_code, early.stdout) == (0, "")
    assert "No attempt ended in that time" in early.stderr


def test_watch_has_one_header_and_rates(admin: Admin, url: str) -> None:
    fill(url)
    rows = list(csv.DictReader(io.StringIO(admin(
        "watch", "--count", "2", "--interval", "0.01", "--url", url, "-o", "csv").stdout)))  # fmt: skip
    assert [row["queue"] for row in rows] == ["mails", "orders"] * 2
    assert (rows[0]["completed_per_s"], rows[3]["completed_per_s"]) == ("", "0.0")


def test_a_report_and_manifests_are_text(admin: Admin, url: str, folder: Path) -> None:
    fill(url)
    assert admin("report", "orders", "--format", "markdown", "--url", url).stdout.startswith("# ")
    assert admin("report", "--to", "r.html", "--url", url).exit_code == 0
    page = (folder / "r.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "hunter2" not in page
    fleet = ("--bucket", "prod", "--queue", "orders", "--image", "a:1", "--handler", "app:h")
    assert "kind: Deployment" in admin("deploy", "k8s", *fleet, "--env", "A=b", "--pods", "3").stdout
    assert json.loads(admin("deploy", "iam", "--role", "worker", "--bucket", "prod").stdout)["Statement"]
    assert json.loads(admin("deploy", "lifecycle", "--noncurrent-days", "3").stdout)["Rules"]
    assert admin("deploy", "k8s", *fleet, "--pods", "0").exit_code == 2


def test_a_copy_is_read_and_never_written(admin: Admin, folder: Path) -> None:
    place = f"file://{folder}/live"
    fill(place)
    (folder / "live/.locks").rename(folder / "gone")
    assert json.loads(admin("status", "orders", "--url", place, "-o", "json").stdout)["dead"] == 3
    refused = admin("replay", "orders", "--all", "--yes", "--url", place)
    assert (refused.exit_code, refused.stdout) == (6, "")


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_fits_by_narrowing_what_is_wide() -> None:
    rows = [("id-1", 5, "x" * 50, "y" * 10), ("id-22", 1234, EVIL, "")]
    text = table(("id", "count", "error", "who"), rows, wide=("error",), width=40)
    assert text.splitlines()[1] == "id-1       5  xxxxxxxxxxxxx…  yyyyyyyyyy"
    assert all(len(line) <= 40 for line in text.splitlines())
    assert r"\x1b" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.35, "350ms"), (12.4, "12s"), (250, "4m 10s"), (3600, "1h"), (190_000, "2d 4h"), (-90, "-1m 30s")],
)
def test_spans_read_well(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (1234.5, "$1,234.50"), (0.0042, "$0.0042"), (0.000015, "$0.000015"), (None, "")]
)
def test_dollars_tell_something(amount: float | None, text: str) -> None:
    assert dollars(amount) == text
