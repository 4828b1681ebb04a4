from __future__ import annotations

import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import Unauthenticated, Unavailable
from remit.identity.recent import Recent
from remit.identity.replay import ReplayCache

from .parties import NOW, attempt

WINDOW = 30_000


def use(cache: ReplayCache, jti: str, now: int, *, key: str = "key", made: int | None = None) -> None:
    cache.use(key, jti, until=(now if made is None else made) + WINDOW, now=now)


def test_a_proof_is_used_once() -> None:
    cache = ReplayCache(capacity=10, per_key=10)
    use(cache, "a", NOW)
    assert cache.seen("key", "a")
    with pytest.raises(Unauthenticated) as caught:
        use(cache, "a", NOW)
    assert caught.value.code == "proof_replayed"


def test_a_full_memory_refuses_and_forgets_nothing() -> None:
    cache = ReplayCache(capacity=3, per_key=3)
    for jti in "abc":
        use(cache, jti, NOW)
    with pytest.raises(Unavailable) as caught:
        use(cache, "d", NOW)
    assert caught.value.code == "proof_memory_full"
    assert all(cache.seen("key", jti) for jti in "abc")
    use(cache, "d", NOW + WINDOW + 2_000)
    assert len(cache) == 1


def test_one_key_can_not_fill_the_memory_for_the_others() -> None:
    cache = ReplayCache(capacity=100, per_key=3)
    for jti in "abc":
        use(cache, jti, NOW)
    with pytest.raises(Unavailable):
        use(cache, "d", NOW)
    use(cache, "d", NOW, key="another")
    use(cache, "d", NOW + WINDOW + 2_000)


def test_a_clock_that_goes_back_brings_nothing_back() -> None:
    cache = ReplayCache(capacity=10, per_key=10)
    use(cache, "a", NOW)
    use(cache, "b", NOW + WINDOW + 2_000)
    assert not cache.seen("key", "a")
    with pytest.raises(Unauthenticated) as caught:
        use(cache, "a", NOW, made=NOW)
    assert caught.value.code == "proof_stale"
    with pytest.raises(Unauthenticated):
        use(cache, "b", NOW, made=NOW + WINDOW + 2_000)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-20_000, 40_000), st.integers(-30_000, 5_000)), max_size=60))
def test_no_proof_is_accepted_twice_whatever_the_clock_does(steps: list[tuple[int, int, int]]) -> None:
    """Each of six proofs was made at one time; the clock jumps forth and back."""
    cache = ReplayCache(capacity=100, per_key=100)
    made: dict[int, int] = {}
    accepted: list[int] = []
    now = NOW
    for jti, jump, age in steps:
        now = max(now + jump, 0)
        at = made.setdefault(jti, now + age)
        if not -5_000 <= now - at <= WINDOW:
            continue  # the check of the proof's age refuses it before the memory is asked
        _, error = attempt(partial(use, cache, str(jti), now, made=at))
        if error is None:
            accepted.append(jti)
    assert len(accepted) == len(set(accepted))


def test_two_threads_use_one_proof_once() -> None:
    cache = ReplayCache(capacity=10_000, per_key=10_000)
    won: list[int] = []

    def run() -> None:
        for jti in range(500):
            if attempt(partial(use, cache, str(jti), NOW))[1] is None:
                won.append(jti)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(500))


def test_recent_forgets_the_least_recently_used() -> None:
    recent: Recent[int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)
    assert len(recent) == 2
