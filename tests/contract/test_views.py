"""Holds every transform in `VIEWS` to the view contract; a new view needs no new code here.

A view whose constructor's first parameter is called `rate` is a dropping view and is held to
more: rate 0 is the identity, bad rates are refused.
"""

import copy
import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform, Compose

import graphcl.views
from graphcl.errors import ArgumentError
from graphcl.views import VIEWS


def takes_rate(view):
    return next(iter(inspect.signature(view).parameters)) == "rate"


def takes_generator(view):
    return "generator" in inspect.signature(view).parameters


def make(view, seed=0, rate=0.4):
    """An instance with default settings; the one required argument is a rate or a small count."""
    first = next(iter(inspect.signature(view).parameters.values()))
    arguments = []
    if first.name == "rate":
        arguments = [rate]
    elif first.default is inspect.Parameter.empty:
        arguments = [1]
    generator = {"generator": torch.Generator().manual_seed(seed)} if takes_generator(view) else {}
    return view(*arguments, **generator)


@st.composite
def graphs(draw):
    """Directed or not, with self-loops, repeated edges and isolated nodes, or nearly empty."""
    nodes = draw(st.integers(1, 12))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=30))
    if draw(st.booleans()):
        edges = sorted({(a, b) for a, b in edges} | {(b, a) for a, b in edges})
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T.contiguous()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100)))
    x = torch.rand(nodes, 5, generator=generator)
    x = torch.where(torch.rand(nodes, 5, generator=generator) < 0.5, x, 0)
    low, high = edge_index.min(0).values, edge_index.max(0).values
    return Data(
        x=x,
        edge_index=edge_index,
        # Equal in both directions, so that an undirected graph is one with its weights.
        edge_weight=1.0 + low + 20.0 * high,
        edge_attr=torch.stack([low, high], 1).float(),
        num_nodes=nodes,
    )


def assert_equal(left, right):
    assert sorted(left.keys()) == sorted(right.keys())
    for key in left.keys():  # noqa: SIM118
        a, b = left[key], right[key]
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b), key
        elif hasattr(a, "__dict__"):
            assert all(torch.equal(vars(a)[name], vars(b)[name]) for name in vars(a)), key
        else:
            assert a == b, key


all_views = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
dropping_views = pytest.mark.parametrize(
    "view",
    [v for v in VIEWS.values() if takes_rate(v)],
    ids=[n for n in VIEWS if takes_rate(VIEWS[n])],
)
quick = settings(max_examples=15, deadline=None)


def test_every_exported_transform_is_in_the_table():
    exported = {
        name
        for name in graphcl.views.__all__
        if inspect.isclass(getattr(graphcl.views, name))
        and issubclass(getattr(graphcl.views, name), BaseTransform)
    }
    # These annotate a graph; they make no view of it.
    assert exported - {"AddCentrality", "AddCommunities"} == set(VIEWS)
    assert all(name == view.__name__ for name, view in VIEWS.items())


@all_views
def test_documented(view):
    first = inspect.getdoc(view).splitlines()[0]
    assert first.endswith(".")
    assert "`" not in first
    for section in ("Shapes:", "Args:", "Raises:", "Example:"):
        assert section in view.__doc__


@all_views
@given(data=graphs())
@quick
def test_input_is_never_mutated(view, data):
    before = copy.deepcopy(data)
    transform = make(view)
    transform(data)
    assert_equal(data, before)
    transform.forward(data)
    assert_equal(data, before)


@all_views
@given(data=graphs(), seed=st.integers(0, 1000))
@quick
def test_same_generator_state_same_view(view, data, seed):
    if not takes_generator(view):
        assert_equal(make(view)(data), make(view)(data))
        return
    torch.manual_seed(0)
    first = make(view, seed)(data)
    torch.manual_seed(1)
    assert_equal(first, make(view, seed)(data))


@all_views
def test_global_random_state_is_left_alone_when_a_generator_is_given(view):
    data = Data(x=torch.rand(4, 3), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
    before = torch.random.get_rng_state()
    make(view)(data)
    assert torch.equal(torch.random.get_rng_state(), before)


@all_views
@given(data=graphs())
@quick
def test_result_is_a_graph_on_the_same_nodes(view, data):
    result = make(view)(data)
    result.validate(raise_on_error=True)
    assert result.num_nodes == data.num_nodes
    assert result.x.shape == data.x.shape
    assert result.x.dtype == data.x.dtype
    for key in ("x", "edge_weight"):
        assert torch.isfinite(result[key]).all()
    assert result.edge_weight.shape == (result.num_edges,)


@all_views
@given(data=graphs())
@quick
def test_undirected_stays_undirected_unless_documented(view, data):
    if not data.is_undirected() or "directed: " in view.__doc__:
        return
    assert make(view)(data).is_undirected()


@dropping_views
@given(data=graphs())
@quick
def test_rate_zero_is_the_identity(view, data):
    assert_equal(make(view, rate=0)(data), data)
    assert_equal(make(view, rate=0.0)(data), data)


@dropping_views
@given(data=graphs())
@quick
def test_rate_one_still_gives_a_graph(view, data):
    result = make(view, rate=1)(data)
    result.validate(raise_on_error=True)
    assert result.num_nodes == data.num_nodes
    assert torch.isfinite(result.x).all()


@dropping_views
@given(data=graphs())
@quick
def test_edges_are_kept_whole_and_in_order(view, data):
    """What is left is a subsequence of the edges, with the weight and attributes it had."""
    data.number = torch.arange(data.num_edges)
    data.edge_number = data.number.clone()
    result = make(view)(data)
    number = result.edge_number
    assert (number[1:] > number[:-1]).all()
    assert torch.equal(result.edge_index, data.edge_index[:, number])
    assert torch.equal(result.edge_weight, data.edge_weight[number])
    assert torch.equal(result.edge_attr, data.edge_attr[number])


@dropping_views
@given(data=graphs())
@quick
def test_features_are_kept_or_zeroed_by_whole_columns(view, data):
    result = make(view)(data)
    same = (result.x == data.x).all(0)
    zero = (result.x == 0).all(0)
    assert (same | zero).all()


@dropping_views
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True])
def test_bad_rates_are_refused(view, rate):
    with pytest.raises(ArgumentError, match="rate"):
        view(rate)


@dropping_views
def test_rates_matter(view):
    """On a real-sized random graph a rate of 0.5 drops something, and not everything."""
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(100, (2, 600), generator=generator)
    edge_index = torch.cat([edge_index, edge_index.flip(0)], 1)
    x = (torch.rand(100, 50, generator=generator) < 0.2).float()
    data = Data(x=x, edge_index=edge_index)
    result = make(view, rate=0.5)(data)
    changed = result.num_edges / data.num_edges * float((result.x != 0).sum() / (x != 0).sum())
    assert 0.2 < changed < 0.9


@all_views
def test_ids_out_of_range_are_refused(view):
    try:
        make(view)(Data(x=torch.rand(3, 2)))
    except ArgumentError:
        pass
    else:
        pytest.skip("this view reads no edges")
    data = Data(x=torch.rand(3, 2), edge_index=torch.tensor([[0, 3], [1, 0]]))
    with pytest.raises(ArgumentError, match="3"):
        make(view)(data)


@all_views
def test_missing_parts_are_refused(view):
    with pytest.raises(ArgumentError, match="needs"):
        make(view)(Data(num_nodes=3))


@all_views
def test_composes_batches_and_prints(view):
    one = Data(x=torch.rand(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]))
    two = Data(x=torch.rand(2, 2), edge_index=torch.tensor([[0, 1], [1, 0]]))
    batch = Batch.from_data_list([one, two])
    result = Compose([make(view), make(view)])(batch)
    assert result.num_nodes == 5
    assert torch.equal(result.batch, batch.batch)
    source, target = result.edge_index
    assert torch.equal(result.batch[source], result.batch[target])
    assert repr(make(view)).startswith(view.__name__)
