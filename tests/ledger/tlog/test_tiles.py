"""c2sp.org/tlog-tiles: paths, bundles, and a tree that grows tile by tile."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.ledger.tlog import merkle, tiles
from remit.ledger.tlog.tiles import ENTRIES, Frontier, Tile, decode_bundle, decode_tile, encode_bundle, tile_at
from tests.ledger.tlog.test_merkle import leaves


def test_the_paths_of_the_specification() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(ENTRIES, 0, 112).path == "tile/entries/000.p/112"
    assert Tile(1, 999).path == "tile/1/999"
    assert Tile(1, 1000).path == "tile/1/x001/000"


def test_the_tiles_of_the_specification() -> None:
    found = list(tiles.tiles_of(70_000))
    assert len([tile for tile in found if tile.level == 0]) == 274
    assert found[273] == Tile(0, 273, 112)
    assert found[274:] == [Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles.tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/x000/001",
        "tile/00/001",
        "tile/64/001",
        "tile/0/1",
        "tile/0/001/x002",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/007",
        "tile/0/../../secret",
        "tile/0/001\n",
        "/tile/0/001",
        "tile/entries/٠٠١",
        "tile/-1/001",
    ],
)
def test_a_second_spelling_of_a_path_is_no_tile(path: str) -> None:
    assert tile_at(path) is None


@given(st.sampled_from([ENTRIES, 0, 1, 63]), st.integers(0, 10**12), st.integers(1, 256))
def test_a_path_leads_to_its_tile(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert tile_at(tile.path) == tile


@given(st.text())
def test_any_path_is_one_tile_or_none(path: str) -> None:
    found = tile_at(path)
    assert found is None or found.path == path


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_bundle_holds_its_entries(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=600), st.integers(1, 256))
def test_any_bytes_are_a_bundle_or_refused(data: bytes, width: int) -> None:
    with contextlib.suppress(InvalidInput):
        assert encode_bundle(decode_bundle(data, width)) == data


def test_a_bundle_with_one_entry_more_or_less_is_refused() -> None:
    data = encode_bundle([b"a", b"b"])
    for wrong, width in ((data, 1), (data, 3), (data + b"\x00", 2), (data[:-1], 2), (b"", 1)):
        with pytest.raises(InvalidInput):
            decode_bundle(wrong, width)
    with pytest.raises(InvalidInput):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 70_000])
def test_a_tree_that_grows_is_its_tiles(size: int) -> None:
    hashes = leaves(size)
    frontier = Frontier()
    kept: dict[Tile, bytes] = {}
    for hash_ in hashes:
        kept.update(frontier.append(hash_))
    kept.update(frontier.partial())
    assert set(kept) == set(tiles.tiles_of(size))
    assert frontier.root() == merkle.root_of(hashes)

    def read(tile: Tile) -> Sequence[bytes]:
        return decode_tile(kept[tile], tile.width)

    node = tiles.node_reader(size, read)
    assert merkle.range_hash(0, size, node) == frontier.root()
    for index in {0, size // 2, size - 1}:
        proof = merkle.inclusion_proof(index, size, node)
        assert merkle.includes(hashes[index], index, size, proof, frontier.root())
    for old in {1, size // 3 or 1, size - 1 or 1}:
        proof = merkle.consistency_proof(old, size, node)
        assert merkle.is_consistent(old, merkle.root_of(hashes[:old]), size, frontier.root(), proof)
    # It goes on from its edge alone.
    edge = [list(read(tile)) if tile.width else [] for tile in tiles.edge_of(size)]
    again = Frontier(size, edge)
    assert again.root() == frontier.root()
    assert again.append(b"\x01" * 32) == frontier.append(b"\x01" * 32)
    assert again.root() == frontier.root()
