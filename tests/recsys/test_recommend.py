"""Lists under the caller's own ids, against lists made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError, ConfigError, NonFiniteError, UnknownNameError
from graphcl.methods.contract import MethodConfig
from recsys import ids, recommend
from recsys.data import Interactions, from_ids
from recsys.ids import item_numbers, user_numbers
from recsys.methods.bpr import BPRMF, BPRConfig
from recsys.methods.contract import Recommender
from recsys.methods.ease import EASE, EASEConfig
from recsys.methods.itemknn import ItemKNN, ItemKNNConfig
from recsys.methods.popularity import Popularity, PopularityConfig
from recsys.methods.sasrec import SASRec, SASRecConfig
from recsys.recommend import Recommendations


class Table(Recommender):
    """Scores every user by its row of a table."""

    def __init__(self, data: Interactions, scores: torch.Tensor) -> None:
        super().__init__(MethodConfig(), data)
        self.scores = scores
        self.blocks: list[int] = []

    def score(self, users: torch.Tensor, history: Interactions) -> torch.Tensor:
        assert not self.training
        self.blocks.append(len(users))
        return self.scores[users]


@pytest.fixture
def log() -> Interactions:
    users = ["Ann B", "Ann B", "Zoë", "Zoë", "carl"]
    items = ["a, b", "c", "c", "東京", "e"]
    log = from_ids(users, items)
    titles = {"a, b": "Alien [1979]", "c": "Heat", "e": "heat ", "東京": "Tokyo"}
    return log.with_titles(np.array(list(titles)), np.array(list(titles.values())))


def lists(found: pd.DataFrame, kind: str, column: str = "item") -> dict:
    return {key: rows[column].tolist() for key, rows in found.groupby(kind, sort=False)}


def test_lists_carry_the_callers_ids_and_leave_out_what_is_seen(log: Interactions) -> None:
    assert log.item_ids.tolist() == ["a, b", "c", "e", "東京"]
    method = Table(log, torch.tensor([[4.0, 3, 2, 1], [1, 9, 3, 9], [5, 5, 6, 5]])).train()
    found = Recommendations(method, log).for_users(["carl", "Ann B", "Zoë"], 2)
    assert list(found.columns) == ["user", "rank", "item", "title", "score"]
    # Equal scores stand in the order of the items, at the cut too.
    assert lists(found, "user") == {
        "carl": ["a, b", "c"], "Ann B": ["e", "東京"], "Zoë": ["e", "a, b"],
    }  # fmt: skip
    assert lists(found, "user", "rank") == {"carl": [1, 2], "Ann B": [1, 2], "Zoë": [1, 2]}
    assert found["title"].tolist()[0] == "Alien [1979]"
    assert found["score"].tolist() == [5, 5, 2, 1, 3, 1]
    assert method.training
    kept = Recommendations(method, log).for_users("Zoë", 3, seen="keep")
    assert lists(kept, "user") == {"Zoë": ["c", "東京", "e"]}


def test_a_list_ends_where_candidates_do(log: Interactions) -> None:
    method = Table(log, torch.arange(12.0).reshape(3, 4))
    found = Recommendations(method, log).for_users(["Ann B"], 10)
    assert found["item"].tolist() == ["東京", "e"]
    found = Recommendations(method, log).for_users(["Ann B"], 10, candidates=["e", "c"])
    assert found["item"].tolist() == ["e"]
    disliked = Interactions.from_indices(
        np.array([0]), np.array([2]), user_ids=log.user_ids, item_ids=log.item_ids
    )
    found = Recommendations(method, log, disliked).for_users(["Ann B"], 10)
    assert found["item"].tolist() == ["東京"]
    assert Recommendations(method, log).for_users([], 3).empty


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_against_a_loop(data) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    users, items = (int(random.integers(1, 7)) for _ in range(2))
    pairs = random.integers(0, [users, items], (int(random.integers(1, 20)), 2))
    log = Interactions.from_indices(
        pairs[:, 0], pairs[:, 1], num_users=users, num_items=items,
        user_ids=np.arange(users) * 3, item_ids=np.array([f"i{n}" for n in range(items)]),
    )  # fmt: skip
    scores = torch.from_numpy(random.integers(-2, 3, (users, items)).astype(np.float32))
    k = int(random.integers(1, items + 3))
    block = int(random.integers(1, 4))
    method = Table(log, scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommend, "LARGEST_BLOCK", block)
        found = Recommendations(method, log).for_users(log.user_ids, k)
    assert max(method.blocks) <= block
    expected = []
    for user in range(users):
        left = [i for i in range(items) if i not in log.history(user)]
        best = sorted(left, key=lambda i: (-scores[user, i], i))[:k]
        expected += [
            (3 * user, place + 1, f"i{i}", scores[user, i]) for place, i in enumerate(best)
        ]
    assert [tuple(row) for row in found.itertuples(index=False)] == expected


def test_wrong_arguments(log: Interactions) -> None:
    method = Table(log, torch.zeros(3, 4))
    with pytest.raises(ArgumentError, match="k must be a whole number of at least 1"):
        Recommendations(method, log).for_users(["carl"], 0)
    with pytest.raises(ArgumentError, match="mask, keep"):
        Recommendations(method, log).for_users(["carl"], seen="filter")
    with pytest.raises(UnknownNameError, match="unknown item 'd'"):
        Recommendations(method, log).for_users(["carl"], candidates=["d"])
    with pytest.raises(NonFiniteError, match="Table"):
        Recommendations(Table(log, torch.full((3, 4), torch.nan)), log).for_users(["carl"])
    with pytest.raises(ArgumentError, match="at least one item"):
        Recommendations(method, log).for_newcomers([["c"], []])
    with pytest.raises(ConfigError, match="nobody but the users"):
        Recommendations(method, log).for_newcomers([["c"]])


class Number:
    """What a class of ids of somebody's own may be: it is written as text."""

    def __str__(self) -> str:
        return "carl"


def test_one_id_is_one_id_and_several_come_in_any_container() -> None:
    log = from_ids([3, 10, 51, 51], [5, 1, 50, 50])
    method = Table(log, torch.tensor([[1.0, 2, 3]] * 3))
    make = Recommendations(method, log)
    for one in ("51", 51, 51.0, np.int64(51), np.float64(51), torch.tensor(51), np.array("51")):
        assert set(make.for_users(one, seen="keep")["user"]) == {51}
    for three in (
        [51, "10", 3.0], (51, 10, 3), iter(["51", 10, 3]), np.array([51, 10, 3]),
        np.array([51.0, 10, 3]), torch.tensor([51, 10, 3]), pd.Index([51, 10, 3]),
        pd.Series([51, 10, 3], index=[7, 8, 9]), pd.Series(["51", "10", "3"], dtype="category"),
        [torch.tensor(51), np.int8(10), 3], {51: 0, 10: 0, 3: 0}.keys(),
    ):  # fmt: skip
        assert make.for_users(three, 1, seen="keep")["user"].tolist() == [51, 10, 3]
    for fifty in ("50", 50, 50.0, [50], {"50"}, pd.Series([50]), torch.tensor([50])):
        found = make.for_users([3], candidates=fifty)
        assert found["item"].tolist() == [50]
    named = from_ids(["ann", "carl"], ["c", "d"])
    assert user_numbers(named, Number()).tolist() == [1]


def test_histories_in_any_container(taste: Interactions) -> None:
    make = Recommendations(EASE(EASEConfig(l2=5.0), taste), taste)
    one = make.for_newcomers([[11]])
    for same in ("11", 11, 11.0, ["11"], [11.0], np.array([11]), torch.tensor([11]),
                 pd.Series([11], index=[4]), [["11"]], [torch.tensor([11])]):  # fmt: skip
        pd.testing.assert_frame_equal(make.for_newcomers(same), one)
    two = make.for_newcomers([[11, 3], [4, 5]])
    logged = pd.DataFrame({"who": ["a", "a", "b", "b"], "item": [11, 3, 4, 5]})
    for same in (
        np.array([[11, 3], [4, 5]]), torch.tensor([[11, 3], [4, 5]]), iter([(11, 3), [4, 5.0]]),
        logged.groupby("who")["item"].agg(list), [pd.Series([11, 3]), np.array([4, 5])],
    ):  # fmt: skip
        pd.testing.assert_frame_equal(make.for_newcomers(same), two)


def test_what_holds_no_ids_is_refused_in_a_sentence(taste: Interactions) -> None:
    make = Recommendations(EASE(EASEConfig(l2=5.0), taste), taste)
    frame = pd.DataFrame({"user": [1]})
    for wrong, words in (
        (None, "got None"), (frame, "got a DataFrame of shape"), ({1: 2}, "got a dict"),
        ([[1], [2]], "a list with a list in it"), (np.ones((2, 2)), "a list with a ndarray of"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=f"users must be an id or a list of ids .*{words}"):
            make.for_users(wrong)
        with pytest.raises(ArgumentError, match=f"items must be an id or a list of ids .*{words}"):
            make.similar_items(wrong)
        if wrong is not None:
            with pytest.raises(ArgumentError, match="candidates must be an id or a list"):
                make.for_users(1, candidates=wrong)
    for wrong in (None, frame, {1: [2]}, [[[1]]], [[1], {2: 3}]):
        with pytest.raises(ArgumentError, match=r"must be an id or a list of ids \(got"):
            make.for_newcomers(wrong)
    with pytest.raises(ArgumentError, match=r"not both .got 4 beside a list"):
        make.for_newcomers([[3], 4])
    for empty in ([], [[]], np.zeros(0), torch.zeros(0, 3)):
        with pytest.raises(ArgumentError, match="at least one item"):
            make.for_newcomers(empty)
    for k in (1.5, 3.0, None, "3", True, -1, [3], np.float64(2)):
        with pytest.raises(ArgumentError, match="k must be a whole number of at least 1"):
            make.for_users(1, k)
    for k in (np.int64(3), torch.tensor(3)):
        assert len(make.for_users(1, k)) == 3


# ------------------------------------------------------------------ ids


def test_a_misspelt_id_is_told_the_nearest(log: Interactions) -> None:
    with pytest.raises(UnknownNameError, match="unknown user 'Anne B'; did you mean 'Ann B'"):
        user_numbers(log, ["carl", "Anne B"])
    with pytest.raises(UnknownNameError, match="unknown item 'Toky'; did you mean 'Tokyo'"):
        item_numbers(log, ["Toky"])
    with pytest.raises(UnknownNameError, match="there are 3, such as Ann B, Zoë, carl"):
        user_numbers(log, ["#####"])
    numbered = from_ids([3, 10, 500], [7, 8, 9])
    assert user_numbers(numbered, ["10", 3, np.int64(500), 10.0]).tolist() == [1, 0, 2, 1]
    for wanted in ("499", 499):
        with pytest.raises(UnknownNameError, match="unknown user '499'; did you mean '500'"):
            user_numbers(numbered, [wanted])
    for wanted in (2, 99999):
        with pytest.raises(UnknownNameError, match=f"'{wanted}'; there are 3, from 3 to 500"):
            user_numbers(numbered, [wanted])
    for wanted in ("ten", 10.5, None):
        with pytest.raises(UnknownNameError, match="there are 3, such as 3, 10, 500"):
            user_numbers(numbered, [wanted])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=3) | st.from_regex(r"[+-]?[0-9_\uff10-\uff19]{1,3}", fullmatch=True))
def test_text_is_an_integer_id_only_as_the_integer_is_written(text: str) -> None:
    log = from_ids(np.arange(-50, 500), np.zeros(550, dtype=int))
    if text.strip() in map(str, range(-50, 500)):
        (number,) = user_numbers(log, text).tolist()
        assert str(log.user_ids[number]) == text.strip()
    else:
        with pytest.raises(UnknownNameError, match="unknown user"):
            user_numbers(log, text)


def test_what_only_looks_like_an_integer_id_finds_nobody() -> None:
    log = from_ids([0, 1, 7, 10], [0, 1, 7, 10])
    for wanted in ("1_0", "007", "+7", "\uff17", "\u0667", True, False, np.True_, "7.0", 7.5):
        for numbers in (user_numbers, item_numbers):
            with pytest.raises(UnknownNameError, match="unknown"):
                numbers(log, [wanted])
    assert user_numbers(log, [" 7 ", "10", 7.0]).tolist() == [2, 3, 2]
    # As the reader does: an id of this kind keeps all of its column text.
    assert user_numbers(from_ids(["007", "7"], [0, 0]), ["7", "007"]).tolist() == [1, 0]
    with pytest.raises(UnknownNameError) as refusal:
        user_numbers(log, "7\r\n8")
    assert len(str(refusal.value).splitlines()) == 1


def test_an_item_may_be_called_by_its_title(log: Interactions) -> None:
    assert item_numbers(log, ["alien [1979]", "東京"]).tolist() == [0, 3]
    with pytest.raises(ConfigError, match=r"2 items have the title 'heat'; give an id \(c, e\)"):
        item_numbers(log.with_titles(np.array(["c", "e"]), np.array(["Heat", "heat"])), "heat")


def test_the_nearest_of_very_many_is_found_soon(monkeypatch) -> None:
    monkeypatch.setattr(ids, "MOST_COMPARED", 50)
    names = [f"{letter}{number}" for letter in "abc" for number in range(100, 400)]
    log = from_ids(names, names)
    with pytest.raises(UnknownNameError, match="did you mean 'b3"):
        user_numbers(log, ["b3999"])


# ------------------------------------------------- newcomers and likeness


@pytest.fixture
def taste() -> Interactions:
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(30), 6)
    items = np.concatenate([random.permutation(10)[:6] + 10 * (user % 2) for user in range(30)])
    return Interactions.from_indices(users, items)


def test_linear_methods_treat_a_newcomer_as_anybody(taste: Interactions) -> None:
    history = [taste.item_ids[taste.history(user).numpy()] for user in (0, 7)]
    for method in (
        EASE(EASEConfig(l2=5.0), taste),
        ItemKNN(ItemKNNConfig(neighbours=8), taste),
        Popularity(PopularityConfig(), taste),
    ):
        known = Recommendations(method, taste).for_users([0, 7], 5)
        new = Recommendations(method, taste).for_newcomers(history, 5)
        assert new["item"].tolist() == known["item"].tolist()
        assert np.allclose(new["score"], known["score"])


def test_a_sequence_method_reads_a_newcomers_history(taste: Interactions) -> None:
    torch.manual_seed(0)
    method = SASRec(SASRecConfig(dimension=16, max_length=4), taste)
    history = taste.item_ids[taste.history(3).numpy()]
    known = Recommendations(method, taste).for_users([3], 5)
    new = Recommendations(method, taste).for_newcomers(history, 5)
    assert new["item"].tolist() == known["item"].tolist()
    assert np.allclose(new["score"], known["score"], atol=1e-6)
    turned = Recommendations(method, taste).for_newcomers(history[::-1], 5)
    assert not np.allclose(turned["score"], known["score"], atol=1e-6)


def test_an_embedding_method_takes_the_mean_of_the_items(taste: Interactions) -> None:
    torch.manual_seed(0)
    method = BPRMF(BPRConfig(dimension=8), taste)
    items = method.embed(taste).double().numpy()
    found = Recommendations(method, taste).for_newcomers([[3, 5, 3], [11]], 20, seen="keep")
    for number, history in enumerate(([3, 5, 3], [11])):
        scores = items @ items[history].mean(0)
        rows = found[found["history"] == number]
        assert rows["item"].tolist() == np.argsort(-scores).tolist()
        assert np.allclose(rows["score"], np.sort(scores)[::-1], atol=1e-6)


def test_similar_items(taste: Interactions) -> None:
    ease = EASE(EASEConfig(l2=5.0), taste)
    knn = ItemKNN(ItemKNNConfig(neighbours=3), taste)
    bpr = BPRMF(BPRConfig(dimension=8), taste)
    for method in (ease, knn, bpr):
        found = Recommendations(method, taste).similar_items([4, 15], 4)
        assert lists(found, "similar_to").keys() == {4, 15}
        assert all(key not in items for key, items in lists(found, "similar_to").items())
    nearest = Recommendations(knn, taste).similar_items(4, 3)
    assert sorted(nearest["item"]) == sorted(knn.similar[4].tolist())
    assert np.allclose(nearest["score"], knn.similarity[4])
    assert set(nearest["item"]) <= set(range(10)), "liked by the same people"
    unit = torch.nn.functional.normalize(bpr.embed(taste), dim=1)
    cosine = Recommendations(bpr, taste).similar_items(4, 19)
    assert np.allclose(cosine["score"], (unit @ unit[4])[cosine["item"].tolist()], atol=1e-6)
    with pytest.raises(ConfigError, match="popularity"):
        Recommendations(Popularity(PopularityConfig(), taste), taste).similar_items(4)
