"""RFC 6962, section 2.1: the tree, its proofs, and what they must not prove."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.ledger.tlog import merkle
from remit.ledger.tlog.merkle import Node, consistency_proof, includes, inclusion_proof, is_consistent


def mth(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1, letter by letter, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()


def leaves(count: int, salt: bytes = b"") -> list[bytes]:
    return [merkle.leaf_hash(salt + n.to_bytes(4, "big")) for n in range(count)]


def nodes(hashes: list[bytes]) -> Node:
    return lambda level, index: mth(hashes[index << level : (index + 1) << level])


# RFC 6962's own example inputs, as certificate transparency implementations test them: eight entries.
ENTRIES = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_roots_of_the_known_eight_entries() -> None:
    hashes = [merkle.leaf_hash(entry) for entry in ENTRIES]
    for size, root in enumerate(ROOTS, 1):
        assert merkle.root_of(hashes[:size]).hex() == root
    assert merkle.root_of([]) == merkle.EMPTY


@pytest.mark.parametrize("size", range(0, 70))
def test_every_proof_of_small_trees_verifies(size: int) -> None:
    hashes = leaves(size)
    root = mth(hashes)
    assert merkle.root_of(hashes) == root
    for index in range(size):
        proof = inclusion_proof(index, size, nodes(hashes))
        assert includes(hashes[index], index, size, proof, root)
    for old in range(size + 1):
        proof = consistency_proof(old, size, nodes(hashes))
        assert is_consistent(old, mth(hashes[:old]), size, root, proof)


@given(st.integers(1, 300), st.data())
def test_a_proof_proves_nothing_else(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    root = mth(hashes)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, nodes(hashes))
    other = data.draw(st.integers(0, size - 1).filter(lambda place: place != index)) if size > 1 else None
    if other is not None:
        assert not includes(hashes[index], other, size, proof, root)
        assert not includes(hashes[other], index, size, proof, root)
    assert not includes(hashes[index], index, size, [*proof, merkle.EMPTY], root)
    assert not includes(hashes[index], size, size, proof, root)
    assert not includes(hashes[index], -1, size, proof, root)
    if proof:
        assert not includes(hashes[index], index, size, proof[:-1], root)
        assert not includes(hashes[index], index, size, proof[::-1], root) or proof == proof[::-1]


@given(st.integers(1, 300), st.data())
def test_a_forked_history_is_not_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    hashes, forked = leaves(size), leaves(size, b"fork")
    changed = data.draw(st.integers(0, old - 1))
    mixed = [*hashes[:changed], forked[changed], *hashes[changed + 1 :]]
    proof = consistency_proof(old, size, nodes(mixed))
    assert not is_consistent(old, mth(hashes[:old]), size, mth(mixed), proof)
    assert not is_consistent(old, mth(hashes[:old]), size, mth(mixed), consistency_proof(old, size, nodes(hashes)))


def test_a_rollback_is_not_consistent() -> None:
    hashes = leaves(9)
    assert not is_consistent(9, mth(hashes), 5, mth(hashes[:5]), [])
    assert not is_consistent(0, merkle.leaf_hash(b"x"), 5, mth(hashes[:5]), [])
    with pytest.raises(ValueError, match="shrink"):
        consistency_proof(9, 5, nodes(hashes))


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_any_hashes_are_a_proof_or_not_and_never_an_exception(old: int, new: int, proof: list[bytes]) -> None:
    root = merkle.leaf_hash(b"root")
    assert not includes(merkle.EMPTY, old, new, proof, root)
    assert not is_consistent(old, merkle.EMPTY, new, root, proof) or (old == 0 and not proof)
