"""Merkle trees: RFC 9162's known answers, every proof of every small tree, and no other proof."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.rules.merkle import consistency, consistent, includes, inclusion, leaf_hash, node_hash, root

# The test vectors of the Certificate Transparency project: eight leaves, and the roots of their beginnings.
LEAVES = [
    bytes.fromhex(x)
    for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]  # fmt: skip


def _get(leaves):
    def get(level, index):
        if level == 0:
            return leaf_hash(leaves[index])
        return node_hash(get(level - 1, 2 * index), get(level - 1, 2 * index + 1))

    return get


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_known_ones(size):
    assert root(size, _get(LEAVES)).hex() == ROOTS[size]


SIZES = range(1, 34)
MANY = [bytes([i]) for i in SIZES]


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_of_every_tree_is_proven_at_its_place_and_at_no_other(size):
    get = _get(MANY)
    top = root(size, get)
    for index in range(size):
        proof = inclusion(index, size, get)
        leaf = leaf_hash(MANY[index])
        assert includes(leaf, index, size, proof, top)
        assert not any(includes(leaf, other, size, proof, top) for other in range(size) if other != index)
        assert not includes(leaf_hash(b"another"), index, size, proof, top)


@pytest.mark.parametrize("size", SIZES)
def test_every_beginning_of_every_tree_is_proven_and_no_other_tree(size):
    get, other = _get(MANY), _get([b"changed", *MANY[1:]])
    for old in range(1, size + 1):
        proof = consistency(old, size, get)
        assert consistent(old, root(old, get), size, root(size, get), proof)
        assert not consistent(old, root(old, other), size, root(size, get), proof)
        assert not consistent(old, root(old, get), size, root(size, other), proof)
        assert len(proof) <= 2 * size.bit_length()


@given(st.data())
def test_a_proof_with_anything_changed_proves_nothing(data):
    get = _get(MANY)
    size = data.draw(st.integers(2, len(MANY)))
    old = data.draw(st.integers(1, size - 1))
    proof = consistency(old, size, get)
    which = data.draw(st.integers(0, len(proof) - 1))
    change = data.draw(st.sampled_from(["flip", "drop", "double", "swap"]))
    changed = list(proof)
    if change == "flip":
        changed[which] = bytes([changed[which][0] ^ 1]) + changed[which][1:]
    elif change == "drop":
        del changed[which]
    elif change == "double":
        changed.insert(which, changed[which])
    else:
        changed.reverse()
    if changed != proof:
        assert not consistent(old, root(old, get), size, root(size, get), changed)


def test_a_place_outside_the_tree_has_no_proof():
    with pytest.raises(ValueError):
        inclusion(3, 3, _get(MANY))
    with pytest.raises(ValueError):
        consistency(4, 3, _get(MANY))
    assert not includes(leaf_hash(MANY[0]), 3, 3, [], root(3, _get(MANY)))
