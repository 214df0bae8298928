"""What every store must do. Derive a test class from :class:`StoreConformance` and give it a ``store`` fixture."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any, ClassVar

import pytest

from s3queue.errors import NotFound, OutcomeUnknown, PreconditionFailed, StoreUnavailable
from s3queue.store.port import CREATE, OVERWRITE, Entry, Object, PutMode, Replace, Store

RACERS = 4  # more than four on one key slow some servers down to seconds
_prefixes = count()


def read(store: Store, key: str) -> Object:
    found = store.get(key)
    assert found is not None
    return found


def absent(store: Store, key: str) -> bool:
    try:
        store.get(key)
    except NotFound:
        return True
    return False


def race(*tasks: Callable[[], Any]) -> list[Any]:
    """Run the tasks at once, a thread each; return what each returned or raised."""
    barrier = Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        barrier.wait(30)
        try:
            return task()
        except (PreconditionFailed, StoreUnavailable, OutcomeUnknown) as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def race_puts(store: Store, key: str, mode: PutMode, racers: int = RACERS) -> tuple[list[bytes], list[bytes]]:
    """Race one write a thread; return the bodies that won for sure, and those that may have."""
    bodies = [f"racer {number} of {key}".encode() for number in range(racers)]

    def write(body: bytes) -> Callable[[], str]:
        return lambda: store.put(key, body, mode)

    outcomes = race(*map(write, bodies))
    won = [body for body, outcome in zip(bodies, outcomes, strict=True) if isinstance(outcome, str)]
    maybe = [b for b, o in zip(bodies, outcomes, strict=True) if isinstance(o, StoreUnavailable | OutcomeUnknown)]
    return won, maybe


class StoreConformance:
    """The contract of :class:`s3queue.store.port.Store` as tests."""

    PAGED_KEYS: ClassVar[int] = 60  # make it thousands where a write is cheap
    ROUNDS: ClassVar[int] = 5  # of each race
    INCREMENTS: ClassVar[int] = 10  # by each thread that counts

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError("the derived class says which store")

    @pytest.fixture
    def prefix(self) -> str:
        """A folder that no other test uses."""
        return f"conformance/{next(_prefixes):06}/"

    # --- one object

    def test_what_is_written_is_read(self, store: Store, prefix: str) -> None:
        etag = store.put(f"{prefix}key", b"body", CREATE)
        assert read(store, f"{prefix}key") == Object(b"body", etag)

    def test_etags_have_no_quotes(self, store: Store, prefix: str) -> None:
        etag = store.put(f"{prefix}key", b"body", CREATE)
        assert etag
        assert '"' not in etag

    @pytest.mark.parametrize("body", [b"", b"\0", bytes(range(256)), b"x\r\n\n", bytes(range(256)) * 4096])
    def test_bodies_come_back_byte_for_byte(self, store: Store, prefix: str, body: bytes) -> None:
        store.put(f"{prefix}key", body, CREATE)
        assert read(store, f"{prefix}key").body == body
        assert store.list(prefix).entries == (Entry(f"{prefix}key", len(body)),)

    @pytest.mark.parametrize(
        "name",
        [
            "a b",
            "a+b",
            "a%2Fb",
            "a&b=c",
            "~!@$'()*,;:",
            "=",
            "a=b.json",
            "#?",
            "<x>",
            "a..b",
            "...",
            "a" * 255,
            "d/e/f",
        ],
    )
    def test_odd_keys(self, store: Store, prefix: str, name: str) -> None:
        key = prefix + name
        etag = store.put(key, b"first", CREATE)
        etag = store.put(key, b"second", Replace(etag))
        assert read(store, key) == Object(b"second", etag)
        assert [entry.key for entry in store.list(prefix).entries] == [key]
        assert store.delete_many([key]) == ()
        assert absent(store, key)

    def test_a_missing_object_is_not_found(self, store: Store, prefix: str) -> None:
        with pytest.raises(NotFound) as caught:
            store.get(f"{prefix}nothing")
        assert caught.value.key == f"{prefix}nothing"
        with pytest.raises(NotFound):
            store.get(f"{prefix}nothing", "0" * 32)

    def test_a_folder_is_not_an_object(self, store: Store, prefix: str) -> None:
        store.put(f"{prefix}folder/key", b"body", CREATE)
        with pytest.raises(NotFound):
            store.get(f"{prefix}folder")
        store.delete(f"{prefix}folder")
        assert read(store, f"{prefix}folder/key").body == b"body"

    def test_a_read_with_the_current_etag_says_unchanged(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        first = store.put(key, b"first", CREATE)
        assert store.get(key, first) is None
        second = store.put(key, b"second", Replace(first))
        assert store.get(key, first) == Object(b"second", second)
        assert store.get(key, second) is None

    def test_store_time_is_milliseconds_since_the_epoch(self, store: Store) -> None:
        assert 1_600_000_000_000 < store.now_ms() < 4_000_000_000_000

    def test_the_location_says_something(self, store: Store) -> None:
        assert store.location

    # --- conditions

    def test_create_is_refused_where_an_object_is(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        etag = store.put(key, b"first", CREATE)
        for body in (b"second", b"first"):
            with pytest.raises(PreconditionFailed) as caught:
                store.put(key, body, CREATE)
            assert caught.value.key == key
        assert read(store, key) == Object(b"first", etag)

    def test_replace_is_refused_at_another_etag(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        first = store.put(key, b"first", CREATE)
        second = store.put(key, b"second", Replace(first))
        assert second != first
        with pytest.raises(PreconditionFailed):
            store.put(key, b"third", Replace(first))
        with pytest.raises(PreconditionFailed):
            store.put(key, b"third", Replace("0" * 32))
        assert read(store, key) == Object(b"second", second)

    def test_replace_is_refused_where_no_object_is(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        etag = store.put(key, b"first", CREATE)
        store.delete(key)
        for missing in (key, f"{prefix}never", f"{prefix}no/folder/either"):
            with pytest.raises(PreconditionFailed):
                store.put(missing, b"second", Replace(etag))
            assert absent(store, missing)

    def test_overwrite_needs_nothing(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        store.put(key, b"first", OVERWRITE)
        etag = store.put(key, b"second", OVERWRITE)
        assert read(store, key) == Object(b"second", etag)
        store.put(key, b"third", Replace(etag))
        assert read(store, key).body == b"third"

    def test_a_deleted_key_can_be_created(self, store: Store, prefix: str) -> None:
        key = f"{prefix}folder/key"
        store.put(key, b"first", CREATE)
        store.delete(key)
        store.put(key, b"second", CREATE)
        assert read(store, key).body == b"second"

    # --- deleting

    def test_delete_removes_and_repeats(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        store.put(key, b"body", CREATE)
        for _ in range(2):
            store.delete(key)
            assert absent(store, key)
        store.delete(f"{prefix}no/such/folder")
        assert store.list(prefix).entries == ()

    def test_delete_many_removes_what_is_there(self, store: Store, prefix: str) -> None:
        keys = [f"{prefix}{number:03}" for number in range(12)]
        for key in keys[:10]:
            store.put(key, b"body", CREATE)
        assert store.delete_many([*keys[:5], *keys[10:], f"{prefix}folder/key"]) == ()
        assert [entry.key for entry in store.list(prefix).entries] == keys[5:10]

    # --- listing

    def test_an_empty_folder_lists_nothing(self, store: Store, prefix: str) -> None:
        page = store.list(f"{prefix}nothing/")
        assert (page.entries, page.more) == ((), False)

    def test_listings_are_sorted_by_code_point(self, store: Store, prefix: str) -> None:
        names = ["A", "Z", "a", "a0", "b", "B", "10", "9", "_", "~"]
        for name in names:
            store.put(prefix + name, b"", CREATE)
        assert [entry.key for entry in store.list(prefix).entries] == [prefix + name for name in sorted(names)]

    def test_listings_go_into_folders(self, store: Store, prefix: str) -> None:
        names = ["a/1", "a/2/x", "a/2/y", "b", "c/1"]
        for name in names:
            store.put(prefix + name, name.encode(), CREATE)
        assert [(e.key, e.size) for e in store.list(prefix).entries] == [(prefix + n, len(n)) for n in names]
        assert [entry.key for entry in store.list(f"{prefix}a/").entries] == [prefix + name for name in names[:3]]
        after = store.list(prefix, after=f"{prefix}a/2/x", limit=2)
        assert ([entry.key for entry in after.entries], after.more) == ([f"{prefix}a/2/y", f"{prefix}b"], True)

    def test_a_prefix_may_end_within_a_name(self, store: Store, prefix: str) -> None:
        for name in ("inbox/001", "inbox/002", "inbox/011", "other"):
            store.put(prefix + name, b"", CREATE)
        assert [entry.key for entry in store.list(f"{prefix}inbox/00").entries] == [
            f"{prefix}inbox/001",
            f"{prefix}inbox/002",
        ]
        assert [entry.key for entry in store.list(f"{prefix}in").entries][-1] == f"{prefix}inbox/011"

    def test_a_listing_starts_after_any_string(self, store: Store, prefix: str) -> None:
        keys = [f"{prefix}{number}" for number in (10, 20, 30)]
        for key in keys:
            store.put(key, b"", CREATE)

        def after(start: str) -> list[str]:
            return [entry.key for entry in store.list(prefix, after=start).entries]

        assert after(keys[0]) == keys[1:]  # exclusive
        assert after(f"{prefix}15") == keys[1:]  # no such key
        assert after(f"{prefix}1") == keys
        assert after(prefix[:-1]) == keys  # before the folder
        assert after(keys[2]) == []
        assert after(f"{prefix[:-1]}0") == []  # beyond the folder

    def test_paging_visits_every_key_once(self, store: Store, prefix: str) -> None:
        keys = [f"{prefix}{number:06}" for number in range(self.PAGED_KEYS)]
        for key in keys:
            store.put(key, b"", CREATE)
        limit = min(1000, self.PAGED_KEYS // 4 + 1)
        seen: list[str] = []
        more = True
        while more:
            page = store.list(prefix, after=seen[-1] if seen else "", limit=limit)
            assert 0 < len(page.entries) <= limit
            seen += [entry.key for entry in page.entries]
            more = page.more
        assert seen == keys

    def test_a_full_last_page_says_that_it_is_the_last(self, store: Store, prefix: str) -> None:
        for number in range(4):
            store.put(f"{prefix}{number}", b"", CREATE)
        assert [store.list(prefix, limit=limit).more for limit in (3, 4, 5)] == [True, False, False]

    # --- races

    def test_one_of_many_creates_wins(self, store: Store, prefix: str) -> None:
        for number in range(self.ROUNDS):
            key = f"{prefix}new-folder-{number}/key"
            won, maybe = race_puts(store, key, CREATE)
            assert len(won) <= 1
            assert read(store, key).body in (won or maybe)

    def test_one_of_many_replaces_wins(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        etag = store.put(key, b"start", CREATE)
        for _ in range(self.ROUNDS):
            won, maybe = race_puts(store, key, Replace(etag))
            assert len(won) <= 1
            found = read(store, key)
            assert found.body in (won or maybe)
            etag = store.put(key, b"next", Replace(found.etag))

    def test_overwrites_leave_one_of_them(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        won, maybe = race_puts(store, key, OVERWRITE)
        assert read(store, key).body in won + maybe

    def test_a_replace_never_revives_what_a_delete_removed(self, store: Store, prefix: str) -> None:
        for number in range(self.ROUNDS):
            key = f"{prefix}{number}"
            etag = store.put(key, b"start", CREATE)
            replaced, _ = race(lambda: store.put(key, b"replaced", Replace(etag)), lambda: store.delete(key))  # noqa: B023
            assert absent(store, key) or isinstance(replaced, StoreUnavailable | OutcomeUnknown)

    def test_creates_replaces_and_deletes_mixed(self, store: Store, prefix: str) -> None:
        """A create can only win after the delete, and then it stays; without one, nothing is left."""
        for number in range(self.ROUNDS):
            key = f"{prefix}{number}"
            etag = store.put(key, b"start", CREATE)
            bodies = [b"created by one", b"created by the other"]
            *created, _, _ = race(
                lambda: store.put(key, bodies[0], CREATE),  # noqa: B023
                lambda: store.put(key, bodies[1], CREATE),  # noqa: B023
                lambda: store.put(key, b"replaced", Replace(etag)),  # noqa: B023
                lambda: store.delete(key),  # noqa: B023
            )
            if not any(isinstance(outcome, StoreUnavailable | OutcomeUnknown) for outcome in created):
                won = [body for body, outcome in zip(bodies, created, strict=True) if isinstance(outcome, str)]
                assert won == ([] if absent(store, key) else [read(store, key).body])

    def test_a_counter_by_compare_and_swap_ends_exact(self, store: Store, prefix: str) -> None:
        key = f"{prefix}counter"
        store.put(key, json.dumps({"count": 0, "writers": {}}).encode(), CREATE)
        race(*[lambda n=n: count_up(store, key, f"writer {n}", self.INCREMENTS) for n in range(RACERS)])
        assert json.loads(read(store, key).body)["count"] == RACERS * self.INCREMENTS

    def test_readers_see_whole_bodies_while_they_change(self, store: Store, prefix: str) -> None:
        key = f"{prefix}key"
        store.put(key, b"0" * 50_000, CREATE)

        def write() -> None:
            for number in range(1, self.INCREMENTS + 1):
                store.put(key, str(number % 10).encode() * (50_000 + number), OVERWRITE)

        def look() -> bool:
            return all(len(set(read(store, key).body)) == 1 for _ in range(self.INCREMENTS * 2))

        assert race(write, look, look)[1:] == [True, True]


def count_up(store: Store, key: str, writer: str, times: int) -> None:
    """Add one ``times`` times, as a committer does: its number in the body tells whether a lost answer was a yes."""
    done = 0
    while done < times:
        found = read(store, key)
        state = json.loads(found.body)
        if state["writers"].get(writer, 0) > done:
            done += 1
            continue
        state["count"] += 1
        state["writers"][writer] = done + 1
        try:
            store.put(key, json.dumps(state).encode(), Replace(found.etag))
        except (PreconditionFailed, StoreUnavailable, OutcomeUnknown):
            continue
        done += 1
