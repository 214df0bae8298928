"""The notebooks run as they are in the repository, with a real kernel; what is in a bucket does no harm in what they show."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from notebooks.incident_demo import make
from s3queue import Queue
from tests.architecture.source import ROOT

NOTEBOOKS = ROOT / "notebooks"
OURS = {
    *("b", "br", "div", "h4", "p", "span", "i", "style", "svg", "title", "rect", "line", "text"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
"""The elements that frames of pandas, snapshots and charts are made of."""
TELL = """
import json
print(json.dumps({"began_at": began_at.isoformat(), "truth": demo.began_at.isoformat() if demo else None,
    "kinds": kinds.drop(columns=["first_at", "last_at", "began_at"]).to_dict("index"),
    "onsets": {kind: at.isoformat() for kind, at in kinds["began_at"].items()},
    "common": common.to_dict("records"), "by_worker": by_worker["mean"].to_dict("index") if len(by_worker) else {},
    "cost": cost.astype(float).to_dict(), "planned": replay.count if replay else 0, "refused": result and dict(result.refused),
    "proof": proof.to_dict(), "stats": bucket.inspect(name, fresh=True).stats.as_dict(), "location": bucket.location,
    "again": sorted(set(left["error_type"])), "trail": [entry.reason for entry in audit(bucket.queue(name))]}))
"""


class Kernel(AsyncKernelManager):
    """A kernel of the interpreter that runs the tests, whatever kernels are installed beside it."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])


def run(folder: Path, **variables: str) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
    """Run the notebook with these variables alone of those for s3queue; return it with its outputs, and what it found."""
    book = nbformat.read(NOTEBOOKS / "incident.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    position = next(number for number, cell in enumerate(book.cells) if cell.id == "close")
    book.cells.insert(position, nbformat.v4.new_code_cell(TELL))  # type: ignore[no-untyped-call]
    client = NotebookClient(
        book, kernel_manager_class=Kernel, timeout=40, resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("S3QUEUE_", "JUPYTER_"))}
    own = {"IPYTHONDIR": str(folder / "ipython"), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    with patch.dict(os.environ, JUPYTER_RUNTIME_DIR=str(folder)):
        client.execute(env=kept | own | variables)
    assert client.km is None  # the kernel has ended
    return book, json.loads(book.cells[position].outputs[0].text)


def shown(book: nbformat.NotebookNode) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each output."""
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                yield "text/plain", output.text
            yield from output.get("data", {}).items()


class Elements(HTMLParser):
    """Gathers what a browser would make of a text: elements, attributes that do or fetch something, what stands in styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.live: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.live += [f"{name}={value}" for name, value in attrs if name.startswith(("on", "src", "href", "xlink"))]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
    return run(tmp_path_factory.mktemp("incident"))


def test_it_finds_what_began_and_when(ran: tuple[nbformat.NotebookNode, dict[str, Any]]) -> None:
    found = ran[1]
    kinds = {kind["error_type"]: {**kind, "fingerprint": key} for key, kind in found["kinds"].items()}
    assert found["began_at"] == found["truth"]
    truth = datetime.fromisoformat(found["truth"])
    began = {"TimeoutError", "NegativeTotal", "KeyError"}
    for kind in began:
        assert kinds[kind]["before"] == 0
        assert kinds[kind]["since"] > 20
        onset = datetime.fromisoformat(found["onsets"][kinds[kind]["fingerprint"]])
        assert abs(onset - truth) <= timedelta(minutes=2)
    assert kinds.keys() - began == {"UnknownAddress", "ConnectionResetError"}
    assert kinds["UnknownAddress"]["before"] > 0


def test_it_finds_what_the_letters_have_in_common(ran: tuple[nbformat.NotebookNode, dict[str, Any]]) -> None:
    found = ran[1]
    common: dict[str, dict[str, tuple[str, float]]] = {}
    for row in found["common"]:
        kind = found["kinds"][row["kind"]]["error_type"]
        common.setdefault(kind, {}).setdefault(row["trait"], (row["value"], row["share"]))
    assert common["TimeoutError"]["payload.carrier"] == ("acme", 1.0)
    assert common["KeyError"]["worker"] == ("w3", 1.0)
    assert common["KeyError"]["payload.channel"] == ("app", 1.0)
    assert common["KeyError"]["payload.currency"] == ("(missing)", 1.0)
    assert common["NegativeTotal"]["payload.promotion"] == ("SPRING", 1.0)
    shares = found["by_worker"]
    assert all(shares[worker]["since"] > shares[worker]["before"] + 0.1 for worker in ("w1", "w2", "w3"))
    assert shares["w3"]["since"] > 1.4 * max(shares["w1"]["since"], shares["w2"]["since"])
    assert found["cost"]["failed attempts"] > 490
    assert 0 < found["cost"]["$ of requests for failed attempts"] < found["cost"]["$ of requests"] < 0.1
    assert 0 < found["cost"]["handler seconds in failed attempts"] < found["cost"]["handler seconds"]


def test_what_is_mended_is_processed_once(ran: tuple[nbformat.NotebookNode, dict[str, Any]]) -> None:
    found = ran[1]
    proof, stats = found["proof"], found["stats"]
    mended = [kind["letters"] for kind in found["kinds"].values() if kind["error_type"] in ("TimeoutError", "KeyError")]
    assert proof["replayed"] == found["planned"] == sum(mended) > 300
    assert found["refused"] == {}
    assert proof["completed"] + proof["dead again"] == proof["replayed"]
    assert proof["completed"] > 0.9 * proof["replayed"]
    assert (proof["completed more than once"], proof["not processed yet"], proof["gone"]) == (0, 0, 0)
    assert set(found["again"]) <= {"NegativeTotal"}
    assert stats["completed"] + stats["dead"] == 3000
    assert found["trail"] == ["acme answers again; the release is taken back"]
    assert not any("not-to-be-shown" in text for _, text in shown(ran[0]))


def test_it_leaves_nothing_behind(ran: tuple[nbformat.NotebookNode, dict[str, Any]]) -> None:
    folder = Path(ran[1]["location"].removeprefix("file://"))
    assert folder.name.startswith("s3queue-incident-")
    assert not folder.exists()


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202eevil\x00</td></svg>$\\href{x}{y}$ {text}"


def test_hostile_content_is_text(tmp_path: Path) -> None:
    """Of a user's own bucket: what strangers wrote into payloads and errors is shown, and is no markup."""
    workers = [f"<img src=x onerror=alert(3)>w{number}" for number in range(3)]
    made = make(tmp_path / "bucket", workers=workers, words=lambda text: HOSTILE.replace("{text}", text))
    book, found = run(
        tmp_path,
        S3QUEUE_URL=f"{made.url}/{made.queue}",
        S3QUEUE_MENDED=made.mended,
        S3QUEUE_REASON="<b>mended</b>",
    )
    assert found["proof"]["replayed"] == found["proof"]["not processed yet"] == found["planned"] > 300
    outputs = list(shown(book))
    assert {kind for kind, _ in outputs} == {"text/plain", "text/html"}
    pages = [text for kind, text in outputs if kind == "text/html"]
    assert len(pages) > 8
    for page in pages:
        read = Elements(page)
        assert read.elements <= OURS
        assert read.live == []
    assert any("&lt;script&gt;alert" in page for page in pages)
    assert not any(sign in text for _, text in outputs for sign in ("\x1b", "\u202e", "\x00"))


def test_nothing_is_written_without_a_reason(tmp_path: Path) -> None:
    """Nor is history needed."""
    made = make(tmp_path / "bucket")
    shutil.rmtree(tmp_path / "bucket" / made.queue / "history")
    before = listing(tmp_path / "bucket")
    _, found = run(tmp_path, S3QUEUE_URL=made.url, S3QUEUE_QUEUE=made.queue, S3QUEUE_MENDED=made.mended)
    assert found["planned"] > 300
    assert (found["proof"]["replayed"], found["trail"]) == (0, [])
    assert listing(tmp_path / "bucket") == before


@pytest.mark.parametrize("where", ["", "error~nothing-like-it"])
def test_without_dead_letters_it_says_so_and_goes_on(tmp_path: Path, where: str) -> None:
    url = (tmp_path / "bucket").as_uri()
    with Queue("quiet", url=url, max_attempts=1, history=True) as queue:
        queue.enqueue_many([1, 0, 2])
        queue.process_once((lambda number: 1 / number) if where else bool, max_messages=3)
    book, found = run(tmp_path, S3QUEUE_URL=url, S3QUEUE_QUEUE="quiet", S3QUEUE_WHERE=where)
    assert found["stats"]["dead"] == bool(where)
    assert (found["kinds"], found["common"], found["trail"]) == ({}, [], [])
    texts = [text for _, text in shown(book)]
    assert any(text.startswith("There are no dead letters" + " that match error" * bool(where)) for text in texts)
    assert "It began at no time: nothing died.\n" in texts


def listing(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_element_that_is_none_of_ours_is_found() -> None:
    read = Elements("<table><td>&lt;script&gt;<script>1</script><img src=x onerror=y></td></table>")
    assert read.elements - OURS == {"script", "img"}
    assert len(read.live) == 2


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(book)
    assert [cell.id for cell in book.cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert set(book.metadata) <= {"kernelspec", "language_info"}
