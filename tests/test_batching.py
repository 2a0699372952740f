"""Plans, the batcher and packing, on random lengths and on bad input."""

import pickle
import tracemalloc

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from thorough import examples

from masking_tutorial import plans
from masking_tutorial.batching import (
    Batches,
    BatchPlan,
    Packed,
    check_shards,
    pack_sequences,
    plan_batches,
    plan_cells,
    plan_waste,
    segment_mean,
    show_cells,
    stream_batches,
    unpack,
)
from masking_tutorial.padding import pad_sequences, padding_waste

lengths_of_some = st.lists(st.integers(1, 12), min_size=1, max_size=40)


@st.composite
def plan_options(draw):
    budget = draw(st.one_of(st.none(), st.integers(16, 60)))
    size = draw(st.integers(1, 9) if budget is None else st.one_of(st.none(), st.integers(1, 9)))
    window = draw(st.one_of(st.none(), st.integers(1, 50)))
    return {
        "batch_size": size,
        "token_budget": budget,
        "window": window,
        "multiple": draw(st.sampled_from([1, 2, 4, 8])),
        "shuffle": draw(st.booleans()),
        "seed": draw(st.integers(0, 3)),
    }


def steps_of(lengths, batch, multiple):
    return -(-max(lengths[number] for number in batch) // multiple) * multiple


# Plans.


@given(lengths=lengths_of_some, options=plan_options(), epoch=st.integers(0, 3))
def test_every_sequence_is_in_one_batch_and_no_batch_is_too_large(lengths, options, epoch):
    plan = plan_batches(lengths, epoch=epoch, **options)
    assert sorted(number for batch in plan for number in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= (options["batch_size"] or len(lengths)) for batch in plan)
    if options["token_budget"]:
        cells = [len(batch) * steps_of(lengths, batch, options["multiple"]) for batch in plan]
        assert max(cells) <= options["token_budget"]


@given(lengths=lengths_of_some, options=plan_options(), epoch=st.integers(0, 3))
def test_the_number_of_batches_is_the_same_in_every_epoch(lengths, options, epoch):
    first = plan_batches(lengths, **options)
    assert len(plan_batches(lengths, epoch=epoch, **{**options, "seed": 9})) == len(first)


@given(lengths=lengths_of_some, options=plan_options(), epoch=st.integers(0, 3))
def test_a_plan_depends_on_seed_and_epoch_alone(lengths, options, epoch):
    first, second = (plan_batches(lengths, epoch=epoch, **options) for _ in range(2))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}])
@pytest.mark.parametrize("window", [1, 100, None])
def test_another_seed_or_epoch_gives_another_plan(change, window):
    lengths = np.random.default_rng(0).integers(1, 30, 1000)
    first, second = (plan_batches(lengths, 32, window=window, **options) for options in ({}, change))
    assert [sorted(batch) for batch in first] != [sorted(batch) for batch in second]


def test_the_order_of_the_batches_is_shuffled_too():
    lengths = np.arange(1, 101)
    firsts = [[lengths[batch].max() for batch in plan_batches(lengths, 10, epoch=epoch)] for epoch in range(2)]
    assert sorted(firsts[0]) == sorted(firsts[1]) and firsts[0] != firsts[1]


def test_without_shuffling_the_longest_come_first_and_equal_ones_in_their_order():
    plan = plan_batches([3, 5, 3, 9, 5], batch_size=2, shuffle=False)
    assert [batch.tolist() for batch in plan] == [[3, 1], [4, 0], [2]]
    many = plan_batches([4, 5] * 100, batch_size=100, shuffle=False)
    assert [batch.tolist() for batch in many] == [list(range(1, 200, 2)), list(range(0, 200, 2))]


def test_a_window_of_one_keeps_the_shuffled_order():
    lengths = np.arange(1, 2001)
    plan = plan_batches(lengths, 50, window=1)
    assert np.mean([np.ptp(lengths[batch]) for batch in plan]) > 1800  # of 1999


def test_a_batch_over_the_edge_of_two_windows_holds_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 1000, 3000)
    plan = plan_batches(lengths, 64, window=1000)
    assert max(np.ptp(lengths[batch]) for batch in plan) < 200


@given(lengths=lengths_of_some, multiple=st.sampled_from([2, 4, 8]), budget=st.integers(16, 60))
def test_a_multiple_bounds_the_number_of_shapes(lengths, multiple, budget):
    for sizes in ({"batch_size": 3}, {"token_budget": budget}):
        plan = plan_batches(lengths, multiple=multiple, **sizes)
        shapes = {(len(batch), steps_of(lengths, batch, multiple)) for batch in plan}
        assert len(shapes) <= len({-(-length // multiple) for length in lengths}) + 1


@given(lengths=lengths_of_some, size=st.integers(1, 9))
def test_the_waste_of_a_plan_is_that_of_its_order(lengths, size):
    plan = plan_batches(lengths, size, shuffle=False)
    in_order = np.array(lengths)[np.concatenate(plan)]
    assert plan_waste(lengths, plan) == pytest.approx(padding_waste(in_order, size))


def test_rounding_up_counts_as_waste():
    assert plan_waste([3, 5], [[0, 1]]) == pytest.approx(0.2)
    assert plan_waste([3, 5], [[0, 1]], multiple=8) == pytest.approx(0.5)


def test_no_sequence_gives_no_batch():
    assert list(plan_batches([], 4)) == []
    assert plan_waste([], []) == 0


@pytest.mark.parametrize(
    "lengths, options, message",
    [
        ([1], {}, "nothing says how large a batch is: pass batch_size, token_budget or both"),
        ([1], {"batch_size": 0}, "batch_size=0: it must be 1 or more"),
        ([1], {"batch_size": 2.5}, "batch_size=2.5: it must be an integer"),
        ([1], {"token_budget": 0}, "token_budget=0: it must be 1 or more"),
        ([1], {"batch_size": 1, "window": 0}, "window=0: it must be 1 or more"),
        ([1], {"batch_size": 1, "multiple": 0}, "multiple=0: it must be 1 or more"),
        ([1], {"batch_size": 1, "seed": -1}, "seed=-1: it must be an integer, 0 or more"),
        ([1], {"batch_size": 1, "epoch": None}, "epoch=None: it must be an integer, 0 or more"),
        ([1, 0], {"batch_size": 1}, "sequence 1 has 0 steps: leave it out"),
        ([9, 300, -1], {"batch_size": 1}, "sequence 2 has -1 steps: leave it out"),
        ([1], {"batch_size": 1, "shard_count": 0}, "shard_count=0: it must be 1 or more"),
        ([1], {"batch_size": 1, "shard_count": 1.5}, "shard_count=1.5: it must be an integer"),
        ([1, 2], {"batch_size": 1, "shard_index": 2, "shard_count": 2}, "shard_index=2: it must be less than shard_count=2"),
        ([1, 2], {"batch_size": 1, "shard_index": -1, "shard_count": 2}, "shard_index=-1: it must be an integer, 0 or more"),
        ([1, 2], {"batch_size": 9, "shard_count": 3}, "shard_count=3: there are 2 sequences, so some hosts would have none"),
        ([1, 2, 3], {"batch_size": 1, "shard_count": 2}, "3 sequences make 3 batches or more, which cannot be dealt to 2 hosts"),
        ([1, 9], {"token_budget": 8}, "sequence 1 needs 9 steps, more than token_budget=8"),
        ([1, 9], {"token_budget": 9, "multiple": 4}, "sequence 1 needs 12 steps, more than token_budget=9"),
        ([[1]], {"batch_size": 1}, r"lengths has the shape \(1, 1\) and dtype int64: it must be a list"),
        ([1.0], {"batch_size": 1}, r"lengths has the shape \(1,\) and dtype float64: it must be a list"),
    ],
)
def test_planning_refuses(lengths, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        plan_batches(lengths, **options)


# Plans of very many lengths.


@given(lengths=st.lists(st.integers(1, 12), max_size=60), options=plan_options(), most=st.sampled_from([0, 300, 70_000]))
def test_a_plan_does_not_depend_on_the_pieces_in_which_it_is_made(lengths, options, most):
    lengths = np.array([*lengths, *[most][: most > 0]], int)
    if options["token_budget"]:
        options["token_budget"] += 8 * most
    whole = plan_batches(lengths, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "_PIECE", 7)
        in_pieces = plan_batches(lengths, **options)
    assert [batch.tolist() for batch in whole] == [batch.tolist() for batch in in_pieces]
    assert whole.fingerprint == in_pieces.fingerprint


def test_equal_lengths_keep_their_random_order_in_every_dtype():
    for most in (100, 60_000, 100_000):
        lengths = np.random.default_rng(0).integers(most // 2, most, 3000)
        order = np.random.default_rng([5, 2]).permutation(3000)
        order = order[np.argsort(-lengths[order], kind="stable")]
        plan = plan_batches(lengths, 50, seed=5, epoch=2)
        assert sorted(batch.tolist() for batch in plan) == sorted(batch.tolist() for batch in np.split(order, 60))


def test_planning_takes_few_bytes_for_each_sequence():
    lengths = np.random.default_rng(0).integers(1, 200, 2**22).astype("uint8")
    tracemalloc.start()
    plan = plan_batches(lengths, token_budget=4096)
    kept, peak = (size / len(lengths) for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert len(plan) > 100_000 and kept < 6 and peak < 24, (kept, peak)


def test_a_plan_is_a_sequence_of_arrays_that_cannot_be_written_to():
    plan = plan_batches([3, 5, 3, 9, 5], batch_size=2, shuffle=False)
    assert isinstance(plan, BatchPlan) and len(plan) == 3
    assert plan[-1].tolist() == [2] and [batch.tolist() for batch in plan[::2]] == [[3, 1], [2]]
    assert plan.steps.tolist() == [9, 5, 3]
    assert repr(plan) == "<BatchPlan: 3 batches, shard 0 of 1>"
    with pytest.raises(IndexError):
        plan[3]
    with pytest.raises(ValueError, match="read-only"):
        plan[0].sort()


def test_the_given_lengths_are_copied():
    lengths = np.array([3, 5], "uint8")
    planner = plans.Planner(lengths, batch_size=1, shuffle=False)
    lengths[:] = 1
    assert planner.plan(0).steps.tolist() == [5, 3]


# A window together with a budget.


@given(lengths=lengths_of_some, window=st.integers(1, 20), budget=st.integers(12, 60), seed=st.integers(0, 99))
def test_too_many_batches_make_the_windows_wider(lengths, window, budget, seed):
    fewest = len(plan_batches(lengths, token_budget=budget))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "_enough_batches", lambda *arguments: fewest)
        plan = plan_batches(lengths, token_budget=budget, window=window, seed=seed)
    assert len(plan) == fewest and sorted(np.concatenate(plan)) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[number] for number in batch) <= budget for batch in plan)


def test_windows_become_no_wider_than_they_have_to(monkeypatch):
    lengths = np.random.default_rng(0).geometric(0.05, 5000).clip(1, 150)
    cutter = plans.Planner(lengths, token_budget=1500, window=50).cutter
    greedy = len(cutter.ends(cutter.order(np.random.default_rng([0, 0])), 50)) - 1
    monkeypatch.setattr(plans, "_enough_batches", lambda *arguments: greedy - 1)
    waste = [plan_waste(lengths, plan_batches(lengths, token_budget=1500, window=window)) for window in (50, 100, 200)]
    assert waste[0] == pytest.approx(waste[1], abs=0.03) and waste[0] > waste[2] + 0.05


def test_a_window_with_a_budget_needs_hardly_more_batches_than_each_epoch_would():
    lengths = np.random.default_rng(0).geometric(0.05, 5000).clip(1, 150)
    planner = plans.Planner(lengths, token_budget=1500, window=500)
    greedy = []
    for epoch in range(30):
        order = planner.cutter.order(np.random.default_rng([0, epoch]))
        greedy.append(len(planner.cutter.ends(order, 500)) - 1)
    assert len(set(greedy)) > 1  # so something has to be done
    assert np.mean(greedy) <= planner.count <= 1.03 * np.mean(greedy)
    assert np.mean(np.array(greedy) > planner.count) < 0.2


def test_of_very_many_lengths_some_are_enough_to_know_how_many_batches_there_will_be(monkeypatch):
    lengths = np.random.default_rng(0).geometric(0.05, 20_000).clip(1, 150)
    of_all = len(plan_batches(lengths, token_budget=1500, window=100))
    monkeypatch.setattr(plans, "_SAMPLE", 4000)
    of_some = {len(plan_batches(lengths, token_budget=1500, window=100, seed=seed)) for seed in range(5)}
    assert len(of_some) == 1 and max(of_some) != of_all and max(of_some) == pytest.approx(of_all, rel=0.1)


def test_without_shuffling_the_given_order_is_cut():
    plan = plan_batches([3, 5, 2, 8, 8, 1], token_budget=16, window=3, shuffle=False)
    assert [batch.tolist() for batch in plan] == [[1, 0, 2], [5, 4], [3]]


# Shards.


@given(
    lengths=st.lists(st.integers(1, 12), max_size=40), options=plan_options(), epoch=st.integers(0, 3), count=st.integers(1, 6)
)
def test_hosts_have_each_sequence_once_and_as_many_batches(lengths, options, epoch, count):
    fewest = len(plan_batches(lengths, **{**options, "window": None}))
    if len(lengths) // count * count < fewest:  # no such plan exists
        with pytest.raises(ValueError, match="sequences"):
            plan_batches(lengths, shard_count=count, **options)
        return
    shares = [plan_batches(lengths, epoch=epoch, shard_index=index, shard_count=count, **options) for index in range(count)]
    assert sorted(number for share in shares for batch in share for number in batch) == list(range(len(lengths)))
    assert len({len(share) for share in shares}) == 1
    for share in shares:
        assert all(1 <= len(batch) <= (options["batch_size"] or len(lengths)) for batch in share)
        steps = [steps_of(lengths, batch, options["multiple"]) for batch in share]
        assert share.steps.tolist() == steps
        assert all(len(batch) * most <= (options["token_budget"] or 10**9) for batch, most in zip(share, steps))
    later = plan_batches(lengths, epoch=epoch + 1, shard_count=count, **{**options, "seed": 9})
    assert len(later) == len(shares[0])
    check_shards([share.fingerprint for share in shares])
    assert [batch.tolist() for batch in shares[0].share_of(count - 1)] == [batch.tolist() for batch in shares[-1]]


def test_what_is_left_over_is_dealt_out_in_smaller_batches_of_which_none_is_empty():
    plan = plan_batches([1] * 11, batch_size=10, shard_count=4)
    assert sorted(len(plan.share_of(index)[0]) for index in range(4)) == [1, 2, 3, 5]
    plan = plan_batches([1] * 25, batch_size=4, shard_count=5, shuffle=False)  # 7 batches of 4 become 10
    assert np.diff(plan.ends).tolist() == [4, 4, 4, 2, 2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize("sizes", [{"batch_size": 8}, {"token_budget": 500}, {"batch_size": 8, "window": 160}])
def test_hosts_work_on_like_lengths_at_the_same_time(sizes):
    lengths = np.random.default_rng(0).integers(1, 100, 3000)

    def waiting(shares):
        batches = min(map(len, shares))
        steps = np.array([share.steps[:batches] for share in shares])
        return 1 - steps.mean() / steps.max(axis=0).mean()

    together = [plan_batches(lengths, shard_index=index, shard_count=8, **sizes) for index in range(8)]
    apart = [plan_batches(lengths[index::8], seed=index, **sizes) for index in range(8)]
    assert waiting(together) < 0.1 < 0.25 < waiting(apart)


@given(lengths=st.lists(st.integers(1, 9), min_size=12, max_size=60), size=st.integers(1, 3), count=st.integers(1, 4), seed=st.integers(0, 9))
def test_on_each_host_the_first_two_batches_differ_in_their_steps_where_any_do(lengths, size, count, seed):
    if len(lengths) // count * count < -(-len(lengths) // size):
        return
    for index in range(count):
        batches = Batches(sequences_of(lengths), batch_size=size, shard_index=index, shard_count=count, seed=seed)
        steps = [x.shape[1] for x in batches]
        assert len(set(steps)) == 1 or steps[0] != steps[1]


@given(lengths=lengths_of_some, options=plan_options(), epochs=st.integers(0, 3), index=st.integers(0, 1))
def test_a_host_that_starts_again_goes_on_where_it_was(lengths, options, epochs, index):
    lengths = [*lengths, *lengths]

    def host(sequences):
        return Batches(sequences, shard_index=index, shard_count=2, **options)

    try:
        without_stop = host(sequences_of(lengths))
    except ValueError:  # too few
        return
    for _ in range(epochs):
        for batch in without_stop:
            pass
    other_data = [[-step for step in sequence] for sequence in sequences_of(lengths)]
    again = host(other_data)
    again.set_epoch(epochs)
    assert again.fingerprint == without_stop.fingerprint
    for expected, x in zip(without_stop, again, strict=True):
        np.testing.assert_array_equal(x, -expected)


@pytest.mark.parametrize("sizes", [{"batch_size": 7}, {"token_budget": 60}, {"token_budget": 60, "window": 9}])
def test_with_equal_weights_the_means_of_all_hosts_add_up_to_the_mean_of_all(sizes):
    targets = np.random.default_rng(0).normal(size=31)
    means = [
        np.mean(y * weights)
        for index in range(3)
        for x, y, weights in Batches(sequences_of(range(1, 32)), targets, equal_weights=True, shard_index=index, shard_count=3, **sizes)
    ]
    assert np.mean(means) == pytest.approx(targets.mean())


# Fingerprints.


def fingerprint(index, count=3, lengths=tuple(range(1, 31)), **options):
    return plan_batches(lengths, **{"batch_size": 4, "shard_index": index, "shard_count": count, **options}).fingerprint


def test_a_fingerprint_is_one_line_that_all_machines_agree_on():
    text = "shard 1 of 3, seed none, epoch 0, lengths 14886305, plan e89c08d0"
    assert fingerprint(1, shuffle=False) == text
    assert fingerprint(1, shuffle=False, lengths=np.arange(1, 31, dtype=">u2")) == text
    assert fingerprint(1, epoch=7).startswith("shard 1 of 3, seed 0, epoch 7, lengths 14886305, plan ")


def test_hosts_with_shares_of_one_plan_pass():
    assert check_shards([fingerprint(index) for index in range(3)]) is None
    assert check_shards([fingerprint(index) for index in (2, 0, 1)]) is None
    assert check_shards([fingerprint(0, 1)]) is None


@pytest.mark.parametrize(
    "fingerprints, message",
    [
        ([fingerprint(0), fingerprint(1, seed=4), fingerprint(2)], "host 1 has seed 4, and host 0 has 0: pass each host the same seed"),
        ([fingerprint(0, seed=4), fingerprint(1), fingerprint(2)], "host 0 has seed 4, and host 1 has 0: pass each"),
        ([fingerprint(0, 2), fingerprint(1, 2, seed=4)], "host 1 has seed 4, and host 0 has 0: pass each"),
        ([fingerprint(0), fingerprint(1), fingerprint(2, epoch=1)], "host 2 has epoch 1, and host 0 has 0: call set_epoch"),
        ([fingerprint(0), fingerprint(1), fingerprint(2, lengths=range(2, 32))], "host 2 has lengths .*: give each host the lengths of all"),
        ([fingerprint(0), fingerprint(1), fingerprint(2, batch_size=5)], "host 2 has plan .*: give each host the same batch_size"),
        ([fingerprint(0), fingerprint(1), fingerprint(2, 4)], "host 2 has shard_count 4, and host 0 has 3"),
        ([fingerprint(0), fingerprint(1), fingerprint(1)], "host 2 has shard 1, and host 1 has it too: pass each host a shard_index"),
        ([fingerprint(0), fingerprint(1)], "there are 2 fingerprints, and shard_count is 3: pass one of each host"),
        ([fingerprint(0), "seed 0"], "host 1 sent 'seed 0': it must be the fingerprint of its plan"),
        ([fingerprint(0), None], "host 1 sent None: it must be"),
        ([], "there are no fingerprints: pass one of each host"),
    ],
)
def test_a_host_that_planned_otherwise_is_named(fingerprints, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_shards(fingerprints)


# The batcher.


def sequences_of(lengths):
    return [[100 * number + step + 1 for step in range(length)] for number, length in enumerate(lengths)]


@given(
    lengths=lengths_of_some,
    options=plan_options(),
    maxlen=st.one_of(st.none(), st.integers(1, 9)),
    padding=st.sampled_from(["pre", "post"]),
    truncating=st.sampled_from(["pre", "post"]),
    epoch=st.integers(0, 2),
)
@example([3, 1], {"batch_size": 2, "multiple": 4}, None, "pre", "post", 0)
def test_batches_are_padded_sequences_with_their_columns(lengths, options, maxlen, padding, truncating, epoch):
    sequences, targets = sequences_of(lengths), np.arange(len(lengths))
    batches = Batches(
        sequences, targets, -targets, maxlen=maxlen, padding=padding, truncating=truncating, value=-1, with_mask=True, **options
    )
    batches.set_epoch(epoch)
    seen = []
    for number, ((x, mask), y, weights) in enumerate(batches):
        kept = [min(lengths[row], maxlen or 99) for row in y]
        steps = -(-max(kept) // options["multiple"]) * options["multiple"]
        cut = [sequences[row][-count:] if truncating == "pre" else sequences[row][:count]
               for row, count in zip(y, kept)]
        np.testing.assert_array_equal(x, pad_sequences(cut, steps, padding=padding, value=-1))
        np.testing.assert_array_equal(mask, x != -1)
        np.testing.assert_array_equal(weights, -y)
        seen.extend(y)
    assert sorted(seen) == list(range(len(lengths))) and number + 1 == len(batches.plan(epoch))
    assert batches.epoch == epoch + 1


@pytest.mark.parametrize("sizes", [{"batch_size": 7}, {"token_budget": 60}])
def test_with_equal_weights_the_batch_means_add_up_to_the_mean_of_all(sizes):
    targets = np.random.default_rng(0).normal(size=30)
    batches = Batches(sequences_of(range(1, 31)), targets, equal_weights=True, **sizes)
    means = [np.mean(y * weights) for x, y, weights in batches]
    assert np.mean(means) == pytest.approx(targets.mean())
    spec = batches.as_dataset().element_spec
    assert len(spec) == 3 and spec[2].shape.as_list() == [None]


def test_the_first_two_batches_have_different_steps_where_there_are_some():
    lengths = [5] * 100 + [6] * 3
    for epoch in range(20):
        batches = Batches(sequences_of(lengths), batch_size=4)
        batches.set_epoch(epoch)
        assert batches[0].shape[1] != batches[1].shape[1]


def test_batches_of_one_shape_are_fine():
    assert [x.shape for x in Batches(sequences_of([3] * 8), batch_size=4)] == [(4, 3), (4, 3)]


def test_a_loop_that_is_left_early_stays_in_its_epoch():
    batches = Batches(sequences_of(range(1, 21)), batch_size=4, seed=5)
    for x in batches:
        break
    assert batches.epoch == 0
    again = [x.tolist() for x in batches]
    assert again[0] == x.tolist() and batches.epoch == 1


def test_a_loop_keeps_its_plan_while_another_epoch_begins():
    batches = Batches(sequences_of(range(1, 41)), np.arange(40), batch_size=4)
    seen = []
    for x, y in batches:
        seen.extend(y)
        batches.set_epoch(7)
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize("columns, with_mask", [(0, False), (1, False), (2, True), (0, True)])
def test_a_dataset_has_the_batches_of_the_loop_epoch_after_epoch(columns, with_mask):
    def make():
        columns_of_some = [np.arange(30, dtype="float32"), np.ones((30, 2), "int64")][:columns]
        return Batches(sequences_of(range(1, 31)), *columns_of_some, token_budget=60, with_mask=with_mask)

    dataset, loop = make().as_dataset(), make()
    assert int(dataset.cardinality()) == len(loop)
    for _ in range(2):
        for there, here in zip(dataset, loop, strict=True):
            tf.nest.assert_same_structure(there, here)
            for tensor, expected in zip(tf.nest.flatten(there), tf.nest.flatten(here), strict=True):
                np.testing.assert_array_equal(tensor, expected)
                assert tensor.dtype == expected.dtype
    assert all(spec.shape[0] is None for spec in tf.nest.flatten(dataset.element_spec))


def test_a_dataset_of_features_leaves_batch_and_steps_open():
    arrays = [np.ones((length, 3), "float32") for length in (2, 4, 5)]
    assert Batches(arrays, batch_size=2, dtype="float32").as_dataset().element_spec.shape.as_list() == [None, None, 3]


@pytest.mark.tensorflow
@pytest.mark.parametrize("source", ["PyDataset", "two workers", "tf.data"])
@pytest.mark.parametrize("sizes", [{"batch_size": 4}, {"token_budget": 60, "window": 9}], ids=["size", "budget and window"])
def test_every_sequence_comes_once_an_epoch_in_fit(source, sizes):
    class Noting(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.seen = keras.layers.Dense(1), []

        def call(self, inputs):
            if not tf.is_symbolic_tensor(inputs):
                self.seen.extend(inputs[:, 0].numpy().astype(int))
            return self.dense(keras.ops.cast(inputs[:, :1], "float32"))

    batches = Batches(sequences_of(range(1, 31)), np.zeros(30), workers=2 if source == "two workers" else 1, **sizes)
    model = Noting()
    model.compile("sgd", "mse", run_eagerly=True)
    if source == "tf.data":
        model.fit(batches.as_dataset(), epochs=3, verbose=0, shuffle=False)  # otherwise Keras warns that it cannot shuffle it
    else:
        model.fit(batches, epochs=3, verbose=0)
    seen = np.array(model.seen[-90:]).reshape(3, 30) // 100
    np.testing.assert_array_equal(np.sort(seen, axis=1), [range(30)] * 3)
    assert seen[0].tolist() != seen[1].tolist()


def test_validation_in_fit_sees_all_in_every_epoch():
    steps = {"training": [], "validation": []}

    class Noting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps["training"].append(batch)

        def on_test_batch_end(self, batch, logs=None):
            steps["validation"].append(batch)

    lengths = np.random.default_rng(0).integers(1, 30, 200)
    batches, held_out = (Batches(sequences_of(lengths), np.zeros(200), token_budget=90, window=20, seed=seed) for seed in (0, 1))
    model = keras.Sequential([keras.layers.Embedding(20_100, 2, mask_zero=True), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(batches, validation_data=held_out, epochs=3, shuffle=False, verbose=0, callbacks=[Noting()])
    for name, source in (("training", batches), ("validation", held_out)):
        assert steps[name] == 3 * list(range(len(source)))


# A column with a value for each step.


@given(
    lengths=lengths_of_some,
    options=plan_options(),
    maxlen=st.one_of(st.none(), st.integers(1, 9)),
    padding=st.sampled_from(["pre", "post"]),
    truncating=st.sampled_from(["pre", "post"]),
)
def test_tags_are_padded_and_cut_along_with_their_sequences(lengths, options, maxlen, padding, truncating):
    sequences, targets = sequences_of(lengths), np.arange(len(lengths))
    tags = [[-step for step in sequence] for sequence in sequences]
    scores = [np.array(sequence, "float32")[:, None] / [2, 4] for sequence in sequences]
    batches = Batches(
        sequences, tags, targets, scores, per_step=(True, False, True), column_value=(5, 0, np.nan), maxlen=maxlen,
        padding=padding, truncating=truncating, **options,
    )  # fmt: skip
    for x, tags_there, targets_there, scores_there in batches:
        np.testing.assert_array_equal(tags_there, np.where(x > 0, -x, 5))
        np.testing.assert_array_equal(targets_there, x.max(axis=1) // 100)
        expected = np.where(x > 0, x, np.nan)
        np.testing.assert_array_equal(scores_there, np.stack([expected / 2, expected / 4], axis=-1))


def of_lengths_3_5_2(rows):
    return rows, np.array(rows, object), tf.ragged.constant(rows), [np.array(row) for row in rows], tuple(map(tuple, rows))


TAGS = [[7, 8, 9], [9, 8, 7, 9, 8], [7, 9]]


@pytest.mark.parametrize("kind", range(5))
def test_tags_of_any_kind_are_known_by_their_lengths(kind):
    x, y = Batches(sequences_of([3, 5, 2]), of_lengths_3_5_2(TAGS)[kind], batch_size=3, shuffle=False)[0]
    assert y.tolist() == [[9, 8, 7, 9, 8], [7, 8, 9, 0, 0], [7, 9, 0, 0, 0]]
    assert y.dtype == np.asarray(of_lengths_3_5_2(TAGS)[kind][0]).dtype


def test_tags_may_be_words():
    tags = [["DET", "NOUN"], ["VERB"]]
    _, y = Batches([[1, 2], [3]], tags, batch_size=2, column_value="padding")[0]
    assert sorted(y.tolist()) == [["DET", "NOUN"], ["VERB", "padding"]]
    with pytest.raises(ValueError, match="^column_value of column 0 is 0, which does not fit into dtype <U0: pass a str"):
        Batches([[1, 2], [3]], tags, batch_size=2)


@pytest.mark.parametrize("columns", [1, 2])
def test_a_dataset_leaves_the_steps_of_tags_open(columns):
    lengths = list(range(1, 31))
    features = [np.ones((length, 2), "float32") for length in lengths]
    batches = Batches(sequences_of(lengths), sequences_of(lengths), features, np.ones((30, 4)), batch_size=4)
    spec = batches.as_dataset().element_spec
    assert [tensor.shape.as_list() for tensor in spec] == [[None, None], [None, None], [None, None, 2], [None, 4]]
    for x, tags, *_ in batches.as_dataset():
        np.testing.assert_array_equal(x, tags)


def test_a_loss_over_tags_counts_the_valid_steps_alone():
    lengths = [3, 5, 2, 4]
    tags = [[step % 3 for step in range(length)] for length in lengths]
    weights = [[1 + step for step in range(length)] for length in lengths]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Embedding(500, 4, mask_zero=True), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    model.compile("sgd", loss)
    evaluated = model.evaluate(Batches(sequences_of(lengths), tags, weights, batch_size=4), verbose=0)
    apart = sum(
        float(loss(np.array([of_one]), model(np.array([sequence])), np.array([weight], "float32")))
        for sequence, of_one, weight in zip(sequences_of(lengths), tags, weights)
    )
    assert evaluated == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize(
    "column",
    [
        np.eye(5)[[0, 0, 1]],  # one class of as many as the longest sequence has steps
        np.eye(9, dtype="int64")[[0, 1, 0]],
        np.array([[0.5, 0.5, 0, 0, 0, 0]] * 3),  # probabilities of classes
        np.array([[3, 0, 0, 0, 2, 1]] * 3),  # counts that go on past the ends, and before the starts
        np.array([[1, 2, 3, 3]] * 3),  # no value that stands for padding
        np.arange(6).reshape(3, 2),
        np.array([[2, 0, 0]] * 3),  # all but one sequence are as long
        [[1, 2, 3], [1, 2, 3], [1, 2, 3]],
        ["a", "b", "c"],
        np.array(["a", None, "c"], object),
    ],
)
def test_rows_that_have_nothing_to_do_with_steps_stay_rows(column):
    x, y = Batches(sequences_of([3, 5, 2]), column, batch_size=3, shuffle=False)[0]
    np.testing.assert_array_equal(y, np.asarray(column)[[1, 0, 2]])


def test_rows_as_long_as_all_sequences_are_values_for_steps_unless_told_otherwise():
    sequences, column = sequences_of([3, 3]), np.array([[1, 2, 3], [4, 5, 6]])
    options = dict(batch_size=2, multiple=4, shuffle=False)
    assert Batches(sequences, column, **options)[0][1].tolist() == [[1, 2, 3, 0], [4, 5, 6, 0]]
    assert Batches(sequences, column, per_step=False, **options)[0][1].tolist() == column.tolist()
    assert Batches(sequences, np.eye(3)[[0, 1]], **options)[0][1].shape == (2, 3)
    assert Batches(sequences, np.eye(3)[[0, 1]], per_step=True, **options)[0][1].shape == (2, 4)
    assert Batches([], np.zeros((0, 3)), **options).as_dataset


@pytest.mark.parametrize("side", ["pre", "post"])
@pytest.mark.parametrize("steps, value", [(5, 0), (5, -1), (5, -100), (8, 0), (8, np.nan), (4, 0)])
def test_tags_that_were_padded_before_are_refused(side, steps, value):
    padded = pad_sequences(TAGS, steps, "float32", padding=side, truncating=side, value=value)
    message = f"^column 1 has a row of length {steps} for sequence 0 of length 3: pass one value for each step, without padding"
    with pytest.raises(ValueError, match=message):
        Batches(sequences_of([3, 5, 2]), np.arange(3), padded, batch_size=2)
    with pytest.raises(ValueError, match=message):
        Batches(sequences_of([3, 5, 2]), np.arange(3), padded.tolist(), batch_size=2)
    scalar, listed = (Batches(sequences_of([3, 5, 2]), padded, batch_size=3, per_step=per_step)
                      for per_step in (False, [False]))
    np.testing.assert_array_equal(scalar[0][1], listed[0][1])
    assert scalar[0][1].shape == (3, steps)


@pytest.mark.parametrize(
    "column, options, message",
    [
        ([[1, 2, 3], [1, 2, 3, 4, 5], [1]], {}, "column 0 has a row of length 1 for sequence 2 of length 2: pass one value for each"),
        ([[1, 2, 3], [1, 2, 3, 4], [1, 2]], {}, "column 0 has a row of length 4 for sequence 1 of length 5"),
        ([[1, 2, 3], [1, 2, 3, 4, 5]], {}, "column 0 has 2 rows: it must have a row for each of the 3 sequences$"),
        ([[1, 2, 3], [1, 2, 3, 4, 5], 2], {}, "column 0: sequence 2 is 2, of type int: each sequence must be"),
        (TAGS, {"per_step": False}, "column 0 has rows of different lengths, which must be values for the steps: leave out"),
        ([1, 2, 3], {"per_step": True}, r"column 0 has the shape \(3,\), one value for each sequence: pass one for each step"),
        (np.ones((3, 2)), {"per_step": True}, "column 0 has a row of length 2 for sequence 0 of length 3: .* as unpad gives them$"),
        (TAGS, {"per_step": (True, True)}, "per_step has 2 parts for 1 columns: pass one for each, or one for all"),
        (TAGS, {"column_value": [0, 0]}, "column_value has 2 parts for 1 columns: pass one for each"),
        (TAGS, {"column_value": 0.5}, "column_value of column 0 is 0.5, which does not fit into dtype int64: pass"),
        (TAGS, {"equal_weights": True}, "equal_weights are weights for sequences, but column 0 has a target for each step"),
        ([np.ones((3, 2)), np.ones((5, 2)), np.ones((2, 1))], {}, "column 0 has steps of different shapes: all steps need"),
    ],
)
def test_columns_are_refused(column, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Batches(sequences_of([3, 5, 2]), column, batch_size=2, **options)


@pytest.mark.parametrize(
    "sequences, columns, options, message",
    [
        ([[1], [2, 0.5]], [], {}, "sequence 1, step 1 is 0.5, which does not fit into dtype int32"),
        ([[1], []], [], {}, "sequence 1 has 0 steps: leave it out"),
        ([[1], [2]], [[1]], {}, r"column 0 has the shape \(1,\): it must have a row for each of the 2 sequences"),
        ([[1], [2]], [[1, 2], 3], {}, r"column 1 has the shape \(\): it must have a row"),
        ([[1], [2]], [], {"maxlen": 0}, "sequence 0 has 0 steps: leave it out"),
        ([[1], [2]], [], {"padding": "left"}, "padding='left': choose 'pre'"),
        ([[1], [2]], [], {"truncating": "left"}, "truncating='left': choose 'pre'"),
        ([[1], [2]], [], {"value": 0.5}, "value is 0.5, which does not fit into dtype int32"),
        ([[1], [2]], [], {"dtype": "int33"}, "dtype='int33': NumPy knows no such type"),
        ([1, 2], [], {}, "sequence 0 is 1, of type int: each sequence must be"),
        ([[1], [2]], [], {"equal_weights": True}, "equal_weights are weights for targets, but there are 0 columns"),
        ([[1], [2]], [[1, 2], [1, 2]], {"equal_weights": True}, "equal_weights are weights for targets, but there are 2 columns"),
    ],
)
def test_the_batcher_refuses(sequences, columns, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Batches(sequences, *columns, batch_size=2, **options)


# What is read later.


class Numbered:
    """Sequences by their numbers, as lists; notes what is read."""

    def __init__(self, sequences):
        self.sequences, self.read = sequences, []

    def __len__(self):
        return len(self.sequences)

    def __getitem__(self, number):
        assert type(number) is int  # not every source takes those of NumPy
        self.read.append(number)
        return self.sequences[number]


class Together(Numbered):
    """The same, many at once."""

    def __getitems__(self, numbers):
        return [self[number] for number in numbers]


class Sliced:
    """An array on disk as h5py has it: slices of one step to the next, and nothing else."""

    def __init__(self, values):
        self.values, self.dtype, self.read = values, values.dtype, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, places):
        assert isinstance(places, slice) and places.step is None
        self.read += places.stop - places.start
        return self.values[places]


def stored(folder, name, values):
    np.save(folder / name, values)
    return np.load(folder / name, mmap_mode="r")


@pytest.mark.parametrize("shape", [(), (2,)], ids=["ids", "features"])
@pytest.mark.parametrize("kind", ["array", "memmap", "sliced", "h5py", "list", "numbered", "together", "list of memmaps"])
@pytest.mark.parametrize("cut", [{}, {"maxlen": 5}, {"maxlen": 5, "truncating": "pre", "padding": "pre", "value": -1}])
def test_sequences_on_disk_give_the_batches_of_those_in_memory(kind, shape, cut, tmp_path):
    lengths = np.random.default_rng(0).integers(1, 12, 40)
    values = np.random.default_rng(0).integers(0, 99, (lengths.sum(), *shape)).astype("uint16")
    offsets = np.append(0, np.cumsum(lengths))
    targets, sequences, tags = np.arange(40), np.split(values, offsets[1:-1]), np.split(values[:, None] * 2, offsets[1:-1])
    options = dict(token_budget=40, window=20, with_mask=True, per_step=(True, False), **cut)
    if kind in ("array", "memmap", "sliced", "h5py"):
        make = {"array": np.array, "memmap": lambda array: stored(tmp_path, f"{array.ndim}.npy", array), "sliced": Sliced,
                "h5py": lambda array: h5py.File(tmp_path / "all.h5", "a").create_dataset(str(array.ndim), data=array)}[kind]  # fmt: skip
        flat, flat_tags = make(values), make(values[:, None] * 2)
        later = Batches(flat, flat_tags, stored(tmp_path, "targets.npy", targets), offsets=offsets, **options)
    else:
        make = {"list": list, "numbered": Numbered, "together": Together,
                "list of memmaps": lambda rows: [stored(tmp_path, f"{id(row)}.npy", row) for row in rows]}[kind]  # fmt: skip
        later = Batches(make(sequences), make(tags), targets.tolist(), lengths=lengths, **options)
    in_memory = Batches(sequences, tags, targets, **options)
    assert len(later) == len(in_memory)
    for number, ((expected, mask), tags_there, targets_there) in enumerate(in_memory):
        (x, valid), *columns = later[number]
        np.testing.assert_array_equal(x, expected)
        assert x.dtype == expected.dtype == "int32"
        np.testing.assert_array_equal(valid, mask)
        np.testing.assert_array_equal(columns[0], tags_there)
        np.testing.assert_array_equal(columns[1], targets_there)
    tf.nest.assert_same_structure(next(iter(later.as_dataset())), later.as_dataset().element_spec)


def test_nothing_is_read_before_its_batch_is_asked_for():
    source = Numbered(sequences_of(range(1, 31)))
    batches = Batches(source, lengths=range(1, 31), batch_size=7)
    assert source.read == []
    batches[2]
    assert source.read == batches.current[2].tolist()
    flat = Sliced(np.arange(465))
    batches = Batches(flat, offsets=np.append(0, np.cumsum(range(1, 31))), batch_size=7, maxlen=4)
    assert flat.read == 0
    assert batches[2].size >= flat.read > 0


def test_a_memory_mapped_file_is_opened_by_the_worker_and_not_copied_to_it(tmp_path):
    values, targets = (stored(tmp_path, name, np.arange(50_000)) for name in ("values.npy", "targets.npy"))
    batches = Batches(values, targets, offsets=range(50_001), batch_size=100)
    in_memory = Batches(np.array(values), np.array(targets), offsets=range(50_001), batch_size=100)
    sizes = [len(pickle.dumps(source)) for source in (batches, in_memory)]
    assert sizes[1] - sizes[0] > 790_000  # of the 800,000 bytes in the files
    there = pickle.loads(pickle.dumps(batches))
    for expected, rows in zip(batches[3], there[3], strict=True):
        np.testing.assert_array_equal(rows, expected)
    assert isinstance(there.reader.values, np.memmap) and there.reader.values.mode == "r"
    part = Batches(values[10:], offsets=range(49_991), batch_size=100)  # not the whole file
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part))[3], part[3])


@pytest.mark.parametrize(
    "row, message",
    [
        ([1, 0.5], "sequence 2, step 1 is 0.5, which does not fit into dtype int32"),
        ([1], "sequence 2 has 1 steps, but lengths says 2: the plan was made for other data"),
        ([1, 2, 3], "sequence 2 has 3 steps, but lengths says 2: the plan was made for other data"),
        (7, "sequence 2 is 7, of type int: each sequence must be"),
        ([[1], [2]], "sequence 2, step 0 has the shape .1,., but sequence 1, step 0 has"),
    ],
)
@pytest.mark.parametrize("source", [list, Numbered, Together])
def test_what_is_wrong_with_a_sequence_is_said_with_its_number(row, message, source):
    batches = Batches(source([[1], [5, 6, 7], row]), lengths=[1, 3, 2], batch_size=2, shuffle=False)
    with pytest.raises(ValueError, match=f"^{message}"):
        for number in range(len(batches)):
            batches[number]


def test_a_value_that_does_not_fit_is_named_by_its_sequence_and_step_in_a_flat_array_too():
    values = np.array([1, 5, 6, 7, 2, 2**40])
    for flat in (values, Sliced(values)):
        batches = Batches(flat, offsets=[0, 1, 4, 6], batch_size=2, maxlen=2, truncating="pre", shuffle=False)
        with pytest.raises(ValueError, match="^sequence 2, step 1 is 1099511627776, which does not fit"):
            list(batches)


@pytest.mark.parametrize(
    "sequences, columns, options, message",
    [
        ([[1], [2]], [], {"lengths": [1]}, "there are 1 lengths for 2 sequences: pass one for each; or offsets"),
        ([[1], [2]], [], {"lengths": [1, 0]}, "sequence 1 has 0 steps: leave it out"),
        ([[1], [2]], [], {"lengths": [1.0, 1.0]}, r"lengths has the shape \(2,\) and dtype float64"),
        (iter([[1], [2]]), [], {"lengths": [1, 1]}, "sequences is of type list_iterator: with lengths it must have len"),
        ([1, 2], [], {"lengths": [1, 1], "offsets": [0, 1, 2]}, "lengths and offsets together: pass offsets for one array"),
        ([1, 2, 3], [], {"offsets": [0, 2]}, "offsets go from 0 to 2, but sequences has 3 steps, from 0 on: they belong to other data"),
        ([1, 2, 3], [], {"offsets": [1, 3]}, "offsets go from 1 to 3, but sequences has 3 steps"),
        ([1, 2, 3], [], {"offsets": [0, 2, 1, 3]}, "offsets falls from 2 to 1 after sequence 1: each sequence must begin"),
        ([1, 2, 3], [], {"offsets": np.array([0, 2, 1, 3], "uint64")}, "offsets falls from 2 to 1 after sequence 1"),
        ([1, 2, 3], [], {"offsets": [0, 2, 2, 3]}, "sequence 1 has 0 steps: leave it out"),
        ([1, 2], [], {"offsets": [0.0, 2.0]}, r"offsets has the shape \(2,\) and dtype float64: it must be a list of integers"),
        ([1, 2], [], {"offsets": []}, r"offsets has the shape \(0,\) and dtype float64"),
        ([1, 2, 3], [[1]], {"offsets": [0, 2, 3]}, "column 0 has 1 rows: it must have a row for each of the 2 sequences, or a value for each of the 3 steps$"),
        ([[1], [2]], [[1]], {"lengths": [1, 1]}, "column 0 has 1 rows: it must have a row for each of the 2 sequences$"),
        ([[1], [2]], [iter([1, 2])], {"lengths": [1, 1]}, "column 0 is of type list_iterator: it must have a length"),
        ([[1], [2]], [[1, 2]], {"lengths": [1, 1], "per_step": True}, "column 0 has one value for each sequence: pass one for each step"),
        ([[1], [2]], [[[1], [2]]], {"lengths": [1, 1], "per_step": True, "column_value": 0.5}, "column_value of column 0 is 0.5, which does not fit"),
        ([[1], [2]], [[[1], [2]]], {"lengths": [1, 1], "per_step": True, "equal_weights": True}, "equal_weights are weights for sequences"),
        ([[1], [2]], [], {"lengths": [1, 1], "equal_weights": True}, "equal_weights are weights for targets, but there are 0 columns"),
    ],
)
def test_a_source_is_refused(sequences, columns, options, message):
    sequences = np.array(sequences) if "offsets" in options else sequences
    with pytest.raises(ValueError, match=f"^{message}"):
        Batches(sequences, *columns, batch_size=2, **options)


class Labelled(Numbered):
    """As a Series of pandas: numbers in brackets are labels, and its values are in order."""

    def __getitem__(self, label):
        return self.sequences[len(self) - 1 - label]

    def to_numpy(self):
        values = np.empty(len(self), object)
        values[:] = self.sequences
        return values


def test_rows_are_taken_by_their_place_and_not_by_their_label():
    sequences, targets = [[1], [2, 3], [4, 5, 6]], [7, 8, 9]
    batches = Batches(Labelled(sequences), Labelled(targets), lengths=[1, 2, 3], batch_size=3, shuffle=False)
    x, y = batches[0]
    assert x.tolist() == [[4, 5, 6], [2, 3, 0], [1, 0, 0]] and y.tolist() == [9, 8, 7]


@pytest.mark.parametrize("given", [{}, {"lengths": [1, 2]}])
def test_sequences_may_be_words(given):
    words = [["valley"], ["of", "flowers"]]
    x = Batches(words, batch_size=2, dtype=str, value="", shuffle=False, **given)[0]
    assert x.tolist() == [["of", "flowers"], ["valley", ""]]
    assert Batches(words, batch_size=1, dtype=str, value="")[0].dtype == "<U7"  # in memory, as wide as the widest of all


@pytest.mark.parametrize("tags", [[[1], [1, 2]], Numbered([[1], [1, 2]])])
def test_tags_of_a_source_need_per_step(tags):
    batches = Batches([[1], [1, 2]], tags, lengths=[1, 2], batch_size=2)
    with pytest.raises(ValueError, match="^column 0 has rows of different shapes: pass per_step=True"):
        batches[0]
    assert Batches([[1], [1, 2]], tags, lengths=[1, 2], batch_size=2, per_step=True, shuffle=False)[0][1].tolist() == [[1, 2], [1, 0]]


def test_tags_of_other_steps_than_their_sequence_are_noticed():
    batches = Batches([[1], [1, 2]], [[1], [1]], lengths=[1, 2], batch_size=2, per_step=True)
    with pytest.raises(ValueError, match="^column 0: sequence 1 has 1 steps, but lengths says 2"):
        batches[0]


def test_where_each_sequence_has_one_step_a_flat_column_is_rows_unless_told_otherwise():
    values = np.array([1, 2, 3])
    options = dict(offsets=[0, 1, 2, 3], batch_size=3, shuffle=False)
    assert Batches(values, values, **options)[0][1].shape == (3,)
    assert Batches(values, values, per_step=True, **options)[0][1].shape == (3, 1)


# Streams.


@given(lengths=lengths_of_some, options=plan_options(), columns=st.integers(0, 2))
def test_a_stream_gives_every_sequence_once_window_by_window(lengths, options, columns):
    window = options.pop("window") or 10
    sequences, numbers = sequences_of(lengths), range(len(lengths))
    items = [(sequence, number, -number)[: 1 + columns] for sequence, number in zip(sequences, numbers)]
    batches = list(stream_batches(iter(items) if columns else iter(sequences), window, columns, **options))
    seen = [row[0] // 100 for batch in batches for row in (batch[0] if columns else batch)]
    for start in range(0, len(lengths), window):
        assert sorted(seen[start : start + window]) == list(numbers[start : start + window])
    for batch in batches:
        x, *batch_columns = batch if columns else (batch,)
        assert x.size <= (options["token_budget"] or 10**6) and len(batch_columns) == columns
        for sign, column in zip((1, -1), batch_columns):
            assert (sign * column == x[:, 0] // 100).all()


def test_a_stream_reads_no_more_than_a_window_ahead_and_shuffles_each_otherwise():
    read = []

    def generator():
        for number in range(10**9):
            read.append(number)
            yield [number] * (1 + number % 10)

    stream = stream_batches(generator(), 100, batch_size=10)
    assert read == []
    windows = [np.concatenate([next(stream)[:, 0] for _ in range(10)]) % 100 for _ in range(2)]
    assert len(read) == 200 and windows[0].tolist() != windows[1].tolist()
    assert sorted(windows[0]) == sorted(windows[1]) == list(range(100))


@pytest.mark.parametrize(
    "items, arguments, options, message",
    [
        ([[1]], (0,), {}, "window=0: it must be 1 or more"),
        ([[1]], (2,), {"columns": -1}, "columns=-1: it must be an integer, 0 or more"),
        ([[1]], (2,), {"shard_count": 2}, "shard_count is not for streams, of which no one knows what comes: use Batches"),
        ([[1]], (2,), {"lengths": [1]}, "lengths is not for streams"),
        ([[1]], (2,), {"columns": 1}, "an item of the stream is of type list: with columns=1 each must be a tuple of a sequence and 1 more"),
        ([([1], 2, 3)], (2,), {"columns": 1}, "an item of the stream is of type tuple: with columns=1"),
        ([[1], [2], [3, 4, 5]], (2,), {"token_budget": 2}, "sequence 0 needs 3 steps, more than token_budget=2"),
    ],
)
def test_a_stream_is_refused(items, arguments, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        list(stream_batches(items, *arguments, **{"batch_size": 2, **options}))


# Packing.


@given(lengths=lengths_of_some, extra=st.integers(0, 20))
def test_packed_sequences_stand_in_rows_of_their_own_segments(lengths, extra):
    sequences, maxlen = sequences_of(lengths), max(lengths) + extra
    packed = pack_sequences(sequences, maxlen, value=-1)
    assert packed.values.shape == packed.segment_ids.shape == packed.positions.shape
    assert packed.values.shape[1] == maxlen
    for name, expected in (("values", sequences), ("positions", [range(length) for length in lengths])):
        for unpacked, wanted in zip(unpack(getattr(packed, name), packed), expected, strict=True):
            assert unpacked.tolist() == list(wanted)
    padding = packed.segment_ids == 0
    assert (packed.values[padding] == -1).all() and (packed.positions[padding] == 0).all()
    assert padding.sum() == padding.size - sum(lengths)  # no cell is used twice
    for segment in unpack(packed.segment_ids, packed):
        assert len(set(segment.tolist())) == 1
    for row in packed.segment_ids:
        segments = row[row != 0]
        assert segments.tolist() == sorted(segments) and set(segments.tolist()) == set(range(1, segments.max() + 1))
        assert not row[len(segments) :].any()


@given(lengths=lengths_of_some)
def test_no_two_rows_could_be_one(lengths):
    packed = pack_sequences(sequences_of(lengths), 12)
    filled = np.sort((packed.segment_ids != 0).sum(axis=1))
    assert len(filled) < 2 or filled[0] + filled[1] > 12


def test_a_sequence_goes_where_it_leaves_the_least_room():
    assert pack_sequences(sequences_of([2, 3, 6, 2, 7]), 10).rows.tolist() == [1, 0, 1, 1, 0]


def test_features_are_packed():
    arrays = [np.full((length, 2), length, "float32") for length in (2, 3, 4)]
    packed = pack_sequences(arrays, 5, dtype="float32", value=np.nan)
    assert packed.values.shape == (2, 5, 2)
    np.testing.assert_array_equal(packed.values[1, :, 0], [3, 3, 3, 2, 2])
    assert np.isnan(packed.values[0, 4]).all()
    assert pack_sequences([np.ones((length, 0)) for length in (2, 3)], 4).values.shape == (2, 4, 0)


@pytest.mark.parametrize(
    "sequences, options, message",
    [
        ([[1], []], {}, "sequence 1 has 0 steps: leave it out"),
        ([[1], [1, 2, 3]], {"maxlen": 2}, "sequence 1 has 3 steps, more than maxlen=2: raise maxlen or cut the sequence"),
        ([[1], [0.5]], {}, "sequence 1, step 0 is 0.5, which does not fit into dtype int32"),
        ([[1]], {"value": 0.5}, "value is 0.5, which does not fit into dtype int32"),
        ([[1]], {"maxlen": -1}, "maxlen=-1: it must be an integer, 0 or more"),
        ([[1]], {"dtype": "int33"}, "dtype='int33': NumPy knows no such type"),
    ],
)
def test_packing_refuses(sequences, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        pack_sequences(sequences, **options)


def test_unpacking_refuses_another_shape():
    packed = pack_sequences([[1, 2], [3]])
    assert isinstance(packed, Packed)
    with pytest.raises(ValueError, match=r"^outputs has the shape \(2, 3\): it must begin with the rows and steps \(2, 2\)"):
        unpack(np.zeros((2, 3)), packed)


@examples()
@given(lengths=lengths_of_some, data=st.data())
def test_the_mean_of_a_segment_is_that_of_its_steps(lengths, data):
    packed = pack_sequences(sequences_of(lengths), 14)
    x = np.random.default_rng(data.draw(st.integers(0, 9))).normal(size=(*packed.values.shape, 3)).astype("float32")
    x[packed.segment_ids == 0] = np.nan
    segments = int(packed.segment_ids.max()) + 1
    means = keras.ops.convert_to_numpy(segment_mean(x, packed.segment_ids, segments))
    assert means.shape == (len(x), segments, 3) and not means[:, -1].any()
    for number, steps in enumerate(unpack(x, packed)):
        row, start = packed.rows[number], packed.starts[number]
        np.testing.assert_allclose(means[row, packed.segment_ids[row, start] - 1], steps.mean(axis=0), atol=1e-5)


# The figure.


def test_the_text_of_the_figure_says_what_it_shows():
    lengths, plan = [3, 5, 4], [[0, 1], [2]]
    picture = show_cells({"padded": plan_cells(lengths, plan), "packed": ([[3, 5], [4]], [10, 10])})
    assert repr(picture) == "padded: 3 rows, 14.3% of the cells are padding\npacked: 2 rows, 40.0% of the cells are padding"
    assert picture.source.startswith("<svg")


def test_a_row_that_holds_too_much_is_refused():
    with pytest.raises(ValueError, match="^packed: row 1 holds 6 steps, but has 5 cells$"):
        show_cells({"packed": ([[1], [2, 4]], [5, 5])})
