import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from graphcl.data.splits import (
    NODE_SPLITS,
    given_split,
    per_class_split,
    public_split,
    random_split,
    split_edges,
    split_nodes,
)
from graphcl.errors import ArgumentError, DataError, UnknownNameError


def graph(count=2000, classes=5, unlabelled=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (count,), generator=generator)
    y[:unlabelled] = -1
    return Data(x=torch.ones(count, 1), y=y, num_nodes=count)


def sizes(split):
    return [int(mask.sum()) for mask in (split.train, split.validation, split.test)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("random-10-10-80", [200, 200, 1600]),
        ("random-20-80", [400, 0, 1600]),
        ("grace-10-90", [200, 0, 1800]),
        ("random-20-per-class", [100, 500, 1000]),
    ],
)
def test_named_sizes(name, expected):
    split = split_nodes(graph(), name, seed=3)
    assert sizes(split) == expected
    assert (split.name, split.seed) == (name, 3)
    assert split.validation.dtype == torch.bool


GIVEN = ["planetoid-public", "ogb", "wikics-20", "given-splits"]


@pytest.mark.parametrize("name", [name for name in NODE_SPLITS if name not in GIVEN])
def test_seed_decides_and_the_global_generator_does_not(name):
    data = graph(unlabelled=10)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = split_nodes(data, name, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    two, other = split_nodes(data, name, 0), split_nodes(data, name, 1)
    assert torch.equal(one.train, two.train)
    assert torch.equal(one.test, two.test)
    assert not torch.equal(one.train, other.train)
    # Nodes without a label are in no part.
    assert not (one.train | one.validation | one.test)[:10].any()


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(20, 200),
    train=st.integers(1, 8),
    validation=st.integers(0, 8),
    seed=st.integers(0, 2**40),
)
def test_random_split_is_a_partition(count, train, validation, seed):
    test = max(10 - train - validation, 1)
    total = train + validation + test
    fractions = (train / total, validation / total, test / total)
    split = random_split(graph(count), seed, fractions)
    assert torch.equal(
        split.train.int() + split.validation.int() + split.test.int(),
        torch.ones(count, dtype=torch.int),
    )
    for size, part in zip(sizes(split), fractions, strict=True):
        assert (size == 0) if part == 0 else (abs(size - part * count) < 2)


def test_fractions_below_one_leave_nodes_out():
    assert sizes(random_split(graph(30), 0, (0.1, 0.2, 0.3))) == [3, 6, 9]


def test_random_split_is_uniform():
    data = graph(20)
    hits = sum(random_split(data, seed, (0.5, 0.0, 0.5)).train.double() for seed in range(400))
    # 400 fair coins a node: 5 standard deviations are 50.
    assert (hits - 200).abs().max() < 50


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 1000))
def test_per_class_split(per_class, classes, seed):
    data = graph(300, classes, seed=seed)
    split = per_class_split(data, seed, per_class, 50, 100)
    assert torch.equal(
        data.y[split.train].bincount(minlength=classes), torch.full((classes,), per_class)
    )
    assert sizes(split)[1:] == [50, 100]
    assert (split.train.int() + split.validation.int() + split.test.int()).max() == 1


def test_public_split():
    data = graph(5)
    with pytest.raises(DataError, match=r"without a public split.*random-10-10-80") as caught:
        public_split(data)
    # No task offers this one.
    assert "random-20-80" not in str(caught.value)
    data.name = "cora"
    with pytest.raises(DataError, match=r"linqs_ids\.csv.*random-20-per-class"):
        split_nodes(data, "planetoid-public", 0)
    for place, key in enumerate(("train_mask", "val_mask", "test_mask")):
        data[key] = torch.arange(5) == place
    split = split_nodes(data, "planetoid-public", 7)
    assert split.test.tolist() == [False, False, True, False, False]
    split.test[:] = False
    assert data.test_mask.any()


def masked(train, validation, test, y=(0, 1, 0, 1, 0)):
    data = Data(x=torch.ones(5, 1), y=torch.tensor(y))
    parts = {"train_mask": train, "val_mask": validation, "test_mask": test}
    for key, nodes in parts.items():
        data[key] = torch.isin(torch.arange(5), torch.tensor(nodes, dtype=torch.long))
    return data


def test_public_split_leaves_nodes_without_a_label_out():
    split = public_split(masked([0, 1], [1, 2], [1, 3, 4], y=(0, -1, 0, 1, 0)))
    parts = [part.nonzero().flatten().tolist() for part in (split.train, split.validation)]
    assert parts == [[0], [2]]
    assert split.test.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (masked([0, 1], [1, 2], [3]), r"train_mask and val_mask .*no node in common.*node 1\)"),
        (masked([0], [1, 2], [2, 3, 1]), r"val_mask and test_mask .*got 2, the first being node 1"),
        (masked([0, 1], [2], [0]), "train_mask and test_mask"),
        (masked([], [1], [2]), "train_mask of the graph has no labelled node"),
        (masked([0], [], [2]), "val_mask of the graph has no labelled node"),
        (masked([0], [1], [2], y=(0, 1, -1, 1, 0)), "test_mask of the graph has no labelled node"),
        (masked([0], [1], [2], y=(-1, -1, -1, -1, -1)), "has no labels"),
    ],
)
def test_malformed_public_split(data, message):
    with pytest.raises(DataError, match=message):
        public_split(data)


def with_splits(splits, test_of_all=True, count=9):
    """Split s trains on node s of the first third, validates on node s of the second."""
    data = Data(x=torch.ones(count, 1), y=torch.arange(count) % 2)
    third = count // 3
    rows, columns = torch.arange(count)[:, None], torch.arange(splits) % third
    data.train_mask, data.val_mask = rows == columns, rows == third + columns
    data.test_mask = rows[:, 0] >= 2 * third
    if not test_of_all:
        data.test_mask = data.test_mask[:, None].expand(-1, splits)
    return data


def parts(split):
    return [m.nonzero().flatten().tolist() for m in (split.train, split.validation, split.test)]


@pytest.mark.parametrize("test_of_all", [True, False])
@pytest.mark.parametrize("splits", [2, 3, 20])
def test_the_seed_says_which_of_several_given_splits(splits, test_of_all):
    data = with_splits(splits, test_of_all)
    name = "wikics-20" if splits == 20 else "given-splits"
    for seed in (0, 1, splits - 1, splits, 7 * splits + 1):
        split = split_nodes(data, name, seed)
        number = seed % splits % 3
        assert parts(split) == [[number], [3 + number], [6, 7, 8]]
        assert (split.name, split.seed) == (name, seed)
        assert split.train.shape == (9,)


@pytest.mark.parametrize("name", GIVEN)
def test_one_given_split_may_have_a_column_of_its_own(name):
    data = with_splits(1)
    flat = Data(x=data.x, y=data.y, test_mask=data.test_mask)
    flat.train_mask, flat.val_mask = data.train_mask[:, 0], data.val_mask[:, 0]
    for one in (data, flat):
        if name == "wikics-20":
            with pytest.raises(DataError, match=r"wikics-20 is .* 20 given splits.* comes with 1;"):
                split_nodes(one, name, 0)
            continue
        assert parts(split_nodes(one, name, 5)) == [[0], [3], [6, 7, 8]]


def test_given_splits_are_independent_of_each_other():
    data = with_splits(3)
    data.val_mask[0, 0] = True
    data.train_mask[:, 1] = False
    with pytest.raises(DataError, match=r"val_mask .*no node in common in split 0 .*node 0\)"):
        given_split(data, 3)
    with pytest.raises(DataError, match=r"train_mask .*no labelled node in split 1; a public"):
        given_split(data, 1)
    assert parts(given_split(data, 2)) == [[2], [5], [6, 7, 8]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data.val_mask[:, :2],
            r"equally many splits \(got train_mask 3, val_mask 2\)",
        ),
        (
            lambda data: data.val_mask.T,
            r"val_mask must hold 9 booleans.* split a column \(got .*3, 9",
        ),
        (lambda data: data.val_mask[:, :0], r"val_mask must hold 9 booleans.*\(9, 0\)"),
        (lambda data: data.val_mask.int(), "val_mask must hold 9 booleans.*int32"),
        (lambda data: data.val_mask[..., None], r"val_mask must hold 9 booleans.*\(9, 3, 1\)"),
        (lambda data: torch.tensor(True), r"val_mask must hold 9 booleans.*\(\)"),
        (lambda data: "all", "val_mask must hold 9 booleans.*str"),
        (lambda data: None, "comes without a public split"),
    ],
)
def test_malformed_given_splits(change, message):
    data = with_splits(3)
    data.val_mask = change(data)
    with pytest.raises(DataError, match=message) as caught:
        given_split(data, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "wanted"), [("planetoid-public", "one given split"), ("ogb", "one given split")]
)
def test_one_split_is_not_taken_out_of_several(name, wanted):
    with pytest.raises(DataError, match=f"{name} is for graphs with {wanted}, .* with 3; given-sp"):
        split_nodes(with_splits(3), name, 0)


def test_user_mistakes_with_nodes():
    with pytest.raises(UnknownNameError, match="did you mean 'planetoid-public'"):
        split_nodes(graph(), "planetoid", 0)
    with pytest.raises(DataError, match="has no labels"):
        split_nodes(Data(x=torch.ones(4, 1)), "random-10-10-80", 0)
    with pytest.raises(DataError, match="has no labels"):
        split_nodes(graph(10, unlabelled=10), "random-10-10-80", 0)
    with pytest.raises(DataError, match=r"too few labelled nodes \(9\)"):
        split_nodes(graph(9), "random-10-10-80", 0)
    with pytest.raises(DataError, match=r"class . of the graph has .* nodes, fewer than 20"):
        split_nodes(graph(50), "random-20-per-class", 0)
    with pytest.raises(DataError, match="beside its train nodes"):
        split_nodes(graph(1000), "random-20-per-class", 0)
    with pytest.raises(ArgumentError, match="per_class must be at least 1"):
        per_class_split(graph(), 0, per_class=0)
    for fractions in [(0.5, 0.5), (0.5, 0.5, 0.5), (-0.1, 0.5, 0.6), (float("nan"), 0.5, 0.5)]:
        with pytest.raises(ArgumentError, match="fractions must"):
            random_split(graph(), 0, fractions)


def pairs(edges):
    return {(min(a, b), max(a, b)) for a, b in edges.T.tolist() if a != b}


graphs = st.integers(8, 40).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)),
            min_size=1,
            max_size=150,
        ),
        st.integers(0, 2**40),
    )
)


@settings(max_examples=150, deadline=None)
@given(graphs)
def test_edge_split_holds_every_promise(case):
    count, edges, seed = case
    edge_index = torch.tensor(edges).T
    before = edge_index.clone()
    whole = pairs(edge_index)
    held_out = int(0.2 * len(whole) + 1e-9) + int(0.3 * len(whole) + 1e-9)
    free = count * (count - 1) // 2 - len(whole)
    if len(whole) < 5 or free < held_out:
        with pytest.raises(DataError, match=r"too few edges|too dense"):
            split_edges(edge_index, count, (0.5, 0.2, 0.3), seed)
        return
    split = split_edges(edge_index, count, (0.5, 0.2, 0.3), seed)
    assert torch.equal(edge_index, before)

    train = split.train_edge_index
    train_pairs, validation, test = (
        pairs(part) for part in (train, split.validation_positive, split.test_positive)
    )
    # Every pair once, in exactly one part; the graph trained on lists both directions, sorted.
    assert train_pairs | validation | test == whole
    assert len(train_pairs) + len(validation) + len(test) == len(whole)
    assert train.shape[1] == 2 * len(train_pairs)
    listed = [tuple(edge) for edge in train.T.tolist()]
    assert listed == sorted(set(listed))
    assert {(b, a) for a, b in listed} == set(listed)
    assert len(validation) == int(0.2 * len(whole) + 1e-9)
    assert len(test) == int(0.3 * len(whole) + 1e-9)

    negatives = torch.cat([split.validation_negative, split.test_negative], dim=1)
    assert split.validation_negative.shape == split.validation_positive.shape
    assert split.test_negative.shape == split.test_positive.shape
    assert (negatives[0] < negatives[1]).all()
    assert 0 <= int(negatives.min()) <= int(negatives.max()) < count
    assert len(pairs(negatives)) == negatives.shape[1]
    assert not pairs(negatives) & whole

    again = split_edges(edge_index.flip(0), count, (0.5, 0.2, 0.3), seed)
    for field in vars(split):
        assert torch.equal(getattr(split, field), getattr(again, field))


def ring(count):
    nodes = torch.arange(count)
    return torch.stack([nodes, (nodes + 1) % count])


def test_edge_split_sizes_and_seed():
    split = split_edges(ring(1000), 1000)
    assert split.train_edge_index.shape == (2, 1700)
    assert split.validation_positive.shape == (2, 50)
    assert split.test_positive.shape == (2, 100)
    other = split_edges(ring(1000), 1000, seed=1)
    assert pairs(split.test_positive) != pairs(other.test_positive)
    assert pairs(split.test_negative) != pairs(other.test_negative)


@pytest.mark.parametrize("count", [12, 40])
def test_negatives_are_uniform(count):
    # 12 nodes take the dense way (all pairs listed), 40 the sparse one (rejection).
    hits = torch.zeros(count, count)
    for seed in range(1000):
        split = split_edges(ring(count), count, (0.5, 0.2, 0.3), seed)
        low, high = split.test_negative
        hits[low, high] += 1
    free = torch.ones(count, count).triu(1).bool()
    low, high = ring(count).sort(dim=0).values
    free[low, high] = False
    assert hits[~free].sum() == 0
    expected = hits.sum() / free.sum()
    assert ((hits[free] - expected).abs() < 6 * expected.sqrt()).all()


def test_part_without_a_fraction_is_empty():
    split = split_edges(ring(20), 20, (0.9, 0.0, 0.1))
    assert split.validation_positive.shape == (2, 0)
    assert split.validation_negative.shape == (2, 0)
    assert split.test_positive.shape == (2, 2)


def test_user_mistakes_with_edges():
    complete = torch.combinations(torch.arange(6)).T
    with pytest.raises(DataError, match="too dense: 0 pairs"):
        split_edges(complete, 6, (0.5, 0.2, 0.3))
    with pytest.raises(DataError, match=r"too few edges \(10\)"):
        split_edges(ring(10), 10)
    with pytest.raises(DataError, match=r"too few edges \(0\)"):
        split_edges(torch.zeros(2, 0, dtype=torch.long), 3)
    with pytest.raises(ArgumentError, match="must sum to 1"):
        split_edges(ring(10), 10, (0.5, 0.1, 0.1))
    with pytest.raises(ArgumentError, match="nodes 0 to 8"):
        split_edges(ring(10), 9)


def test_large_sparse_graph_is_split_without_looping_over_edges():
    count = 300_000
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(count, (2, 1_000_000), generator=generator)
    split = split_edges(edges, count)
    assert split.test_negative.shape == split.test_positive.shape
