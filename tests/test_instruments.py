"""The manner that all instruments share: statuses, requirements, exit codes, what a batch may be, what is refused and why."""

import json
import re
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from brute import evaluated, leak, valid_steps
from keras import layers, ops
from test_field import (
    IDS,
    LEAKS,
    LENGTHS,
    LONG,
    LONG_LENGTHS,
    PRE,
    ROUNDING,
    SEQUENCES,
    TAGS,
    VALID,
    broken,
    chain,
    compiled,
    embed,
    encoder_decoder,
    functional,
    ids_input,
    plain,
    said,
    stack,
    taggers,
    text_model,
)

from masking_tutorial import (
    Batches,
    assert_padding_contract,
    audit,
    check_padding,
    find_leaks,
    lint_batch,
    main,
    register_clause,
)

pytestmark = [
    pytest.mark.usefixtures("seeded", "without_graphs"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
    pytest.mark.filterwarnings("ignore:.*does not support mask"),
]
STATUSES = {"kept", "broken", "not applicable", "could not be tested"}
CLAUSES = ["amount", "side", "content", "influence", "neighbours", "gradients", "mask", "training", "predict", "compiled",
           "loss", "metrics", "regularizers", "saved"]  # fmt: skip


def pooled(**options):
    return stack(layers.GlobalAveragePooling1D(), layers.Dense(2), **options)


def leaking():
    return stack(layers.GlobalAveragePooling1D(name="mean"), mask=False)


# Statuses, and the line that a report opens with.


@pytest.mark.graphs
def test_every_clause_has_one_of_four_statuses_and_a_reason():
    for model, targets in ((leaking(), None), (compiled(pooled()), np.ones((3, 2)))):
        report = check_padding(model, IDS, targets=targets)
        assert set(report.clauses) >= set(CLAUSES) and list(report.clauses) == [row.name for row in report.rows]
        for row in report.rows:
            assert row.status in STATUSES and row.reason, row
            assert report.clauses[row.name] == row
        assert report.ok == bool(report) == (not broken(report))
        assert (report.first is None) == report.ok and (report.ok or report.first.name in broken(report))


@pytest.mark.parametrize(
    "make, options, clause, status",
    [
        (pooled, {}, "loss", "not applicable"),
        (pooled, {}, "side", "not applicable"),
        (lambda: compiled(pooled(), metrics=["mae"]), {}, "metrics", "could not be tested"),
        (lambda: compiled(pooled()), {}, "loss", "could not be tested"),
        (lambda: compiled(pooled(), metrics=["mae"]), {"targets": np.ones((3, 2))}, "metrics", "kept"),
        (pooled, {"sides": ("pre", "post")}, "side", "kept"),
    ],
)
def test_what_does_not_apply_is_told_from_what_could_not_be_tested(make, options, clause, status):
    assert check_padding(make(), IDS, **options).clauses[clause].status == status


class Eager(layers.Layer):
    "Needs values, which a graph has not."

    def call(self, inputs):
        if not hasattr(inputs, "numpy"):
            raise TypeError("this layer needs values")
        return inputs + 0

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


@pytest.mark.graphs
def test_an_exception_of_an_instrument_s_own_doing_is_no_pass():
    report = check_padding(stack(layers.GlobalAveragePooling1D(), Eager()), IDS)
    assert report.ok
    for clause in ("compiled", "predict"):
        assert report.clauses[clause].status == "could not be tested" and "TypeError" in said(report.clauses[clause])
        assert clause in report.verdict
    with pytest.raises(AssertionError, match="compiled"):
        assert_padding_contract(stack(layers.GlobalAveragePooling1D(), Eager()), IDS, require=["amount", "compiled"])



@pytest.mark.graphs
@pytest.mark.parametrize("make, batch, ok", [(pooled, IDS, True), (leaking, IDS, False), (leaking, PRE, False)], ids=["sound", "leaking", "in front"])
def test_a_report_opens_with_its_verdict_in_text_html_and_json(make, batch, ok):
    options = {"lengths": LENGTHS} if batch is PRE else {}
    model = make()
    reports = [check_padding(model, batch, **options), find_leaks(model, batch, **options), audit(model, batch, **options)]
    for report in [*reports, lint_batch(IDS * (np.arange(5) != ok - 1))]:
        assert report.ok == bool(report)
        assert "\n" not in report.verdict and len(report.verdict) <= 100
        assert repr(report).splitlines()[0] == report.verdict
        html = report._repr_html_()
        shown = re.sub("<[^>]*>", "", html.split("<table")[0]).strip()
        assert shown.startswith(report.verdict)
        told = json.loads(report.to_json(), parse_constant=pytest.fail)
        assert told["ok"] == report.ok and told["verdict"] == report.verdict
        assert told["notes"] == list(report.notes) and len(told["rows"]) == len(report.rows)
    for report in reports:
        assert report.ok == ok
        assert report.verdict.startswith("KEPT" if ok else "BROKEN"), report.verdict


def test_the_verdict_names_what_is_broken_and_what_could_not_be_tested():
    report = check_padding(leaking(), IDS)
    assert report.verdict.startswith("BROKEN: ") and all(name in report.verdict for name in broken(report))
    report = check_padding(compiled(pooled()), IDS)
    assert report.verdict.startswith("KEPT (") and "loss" in report.verdict and "could not be tested" in report.verdict
    assert check_padding(pooled(), IDS).verdict == "KEPT"
    assert "mean" in find_leaks(leaking(), IDS).verdict


def test_which_steps_are_taken_for_valid_and_how_that_was_found_out_stands_in_the_notes():
    for report in (check_padding(pooled(), IDS), find_leaks(pooled(), IDS)):
        assert any("mask" in note for note in report.notes), report.notes
        assert all(note.split()[0] in repr(report) for note in report.notes)
    assert any("lengths" in note for note in check_padding(leaking(), IDS, lengths=LENGTHS).notes)
    assert any("zero" in note or " 0" in note for note in check_padding(leaking(), IDS).notes)


def test_each_instrument_says_what_it_does():
    for tool in (check_padding, find_leaks, audit):
        steps = []
        tool(leaking(), IDS, progress=steps.append)
        assert steps and all(isinstance(step, str) for step in steps)


# What is required, and clauses of one's own.


def test_a_required_clause_that_could_not_be_tested_fails():
    model = compiled(pooled())
    assert_padding_contract(model, IDS)
    assert_padding_contract(model, IDS, require=["amount", "content", "gradients"])
    with pytest.raises(AssertionError, match="loss"):
        assert_padding_contract(model, IDS, require=["amount", "loss"])
    assert_padding_contract(model, IDS, require=["loss"], targets=np.ones((3, 2)))
    with pytest.raises(ValueError, match="speed.*amount"):
        assert_padding_contract(model, IDS, require=["speed"])
    with pytest.raises(AssertionError, match="BROKEN"):
        assert_padding_contract(leaking(), IDS)


@pytest.fixture
def own_clause():
    from masking_tutorial.contract import CLAUSES as registered

    yield "of one's own"
    registered.pop("of one's own", None)


def test_a_clause_of_one_s_own_is_tested_with_the_others_and_its_error_is_no_pass(own_clause):
    seen = []

    @register_clause(own_clause)
    def clause(case):
        seen.append(case)
        raise RuntimeError("this cannot be told")

    report = check_padding(pooled(), IDS)
    assert len(seen) == 1 and report.clauses[own_clause].status == "could not be tested"
    assert "this cannot be told" in said(report.clauses[own_clause]) and own_clause in report.verdict
    with pytest.raises(ValueError, match=own_clause):
        register_clause(own_clause)(clause)
    with pytest.raises(AssertionError, match=own_clause):
        assert_padding_contract(pooled(), IDS, require=[own_clause])


# The command: its exit codes and options.


@pytest.fixture
def command(tmp_path, capsys):
    "Saves a model and a batch, and gives the exit code with what was printed."

    def run(model, *options, **arrays):
        model.save(tmp_path / "model.keras")
        if arrays:
            np.savez(tmp_path / "batch.npz", **{name.replace("__", "/"): array for name, array in arrays.items()})
            options = ("--batch", str(tmp_path / "batch.npz"), *options)
        code = main([str(tmp_path / "model.keras"), *options])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def saved(mask=True, **options):
    model = functional(lambda ids: layers.Dense(2)(layers.GlobalAveragePooling1D(name="mean")(embed(mask)(ids))))
    return compiled(model, **options) if options else model


def test_exit_code_0_kept_and_all_that_applies_was_tested(command):
    code, out, _ = command(saved(), ids=IDS)
    assert code == 0 and out.startswith("KEPT"), out
    assert command(saved(loss="mse"), ids=IDS, targets=np.ones((3, 2)))[0] == 0
    assert command(saved())[0] == 0


def test_exit_code_1_broken(command):
    code, out, _ = command(saved(mask=False), ids=IDS)
    assert code == 1 and out.startswith("BROKEN") and "mean" in out
    code, out, _ = command(saved(mask=False), "--json", ids=IDS)
    assert code == 1 and json.loads(out)["ok"] is False
    # F4: the encoder has no mask
    assert command(encoder_decoder(), source=LONG, target=IDS)[0] == 1


def test_exit_code_2_nothing_could_be_tested(command, tmp_path, capsys):
    code, _, err = command(saved(), ids=IDS[1:2].repeat(3, axis=0))
    assert code == 2 and "padd" in err
    code, out, _ = command(saved(), "--json", ids=IDS[1:2].repeat(3, axis=0))
    assert code == 2 and json.loads(out)["ok"] is not True
    assert main([str(tmp_path / "missing.keras")]) == 2
    (tmp_path / "text.keras").write_text("no model")
    assert main([str(tmp_path / "text.keras")]) == 2
    assert "missing.keras" in (err := capsys.readouterr().err) and "text.keras" in err


def test_exit_code_3_nothing_broken_but_something_that_applies_could_not_be_tested(command):
    code, out, _ = command(saved(loss="mse"), ids=IDS)
    assert code == 3 and out.startswith("KEPT (") and "loss" in out.splitlines()[0], out
    code, out, _ = command(saved(loss="mse"), "--json", ids=IDS)
    assert code == 3 and "could not be tested" in json.loads(out)["verdict"]


def test_the_command_fails_where_a_required_clause_could_not_be_tested(command):
    required = ("--require", "loss")
    assert command(saved(loss="mse"), *required, ids=IDS, targets=np.ones((3, 2)))[0] == 0
    code, out, err = command(saved(loss="mse"), *required, ids=IDS)
    assert code != 0 and re.search("required[^\n]*loss|loss[^\n]*required", out + err), out + err
    assert command(saved(), "--require", "amount", "--require", "content", ids=IDS)[0] == 0


def test_the_command_takes_sides_static_inputs_lengths_targets_and_weights_by_name(command):
    assert command(saved(mask=False), "--side", "pre", ids=PRE)[0] == 1
    static = command(encoder_decoder(), "--static", "source", source=LONG, target=IDS)
    assert static[0] in (0, 3) and "source" in static[1]
    told = {"lengths__source": LONG_LENGTHS, "lengths__target": LENGTHS}
    assert command(encoder_decoder(), source=LONG, target=IDS, **told)[0] == 1
    assert command(encoder_decoder(source_mask=True), source=LONG, target=IDS, **told)[0] == 0
    targets = {"targets__head_0": TAGS, "targets__head_1": TAGS}
    code, out, _ = command(taggers([keras.metrics.FalsePositives(thresholds=0.0, name="wrong")], as_dict=True), ids=IDS, **targets)
    assert code == 1 and "wrong" in out
    weighed = lost("mean_with_sample_weight")
    assert command(weighed, ids=IDS, targets=TAGS)[0] == 1
    assert command(weighed, ids=IDS, targets=TAGS, sample_weight=WEIGHTS)[0] == 0


# Several masks, and several ways to give one.


def answers_in_text(attends=True):
    "One mask says what is padding, another one which of the steps make up the answer."
    inputs = {"token_ids": ids_input("token_ids"), "padding_mask": ids_input("padding_mask"), "answer_mask": ids_input("answer_mask")}
    x = embed(False)(inputs["token_ids"])
    options = {"attention_mask": ops.expand_dims(inputs["padding_mask"], 1)} if attends else {}
    x = x + layers.MultiHeadAttention(2, 2, name="attend")(x, x, **options)
    weights = ops.cast(inputs["answer_mask"], "float32")[:, :, None]
    return keras.Model(inputs, ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1))


def hand_and_zero(hand=True):
    "The source is masked by hand, the target by mask_zero."
    source, mask, target = ids_input("source"), keras.Input((None,), dtype="bool", name="source_mask"), ids_input("target")
    x = embed(False)(source)
    options = {"attention_mask": mask[:, None]} if hand else {}
    y = embed()(target)
    crossed = layers.MultiHeadAttention(2, 2, name="cross")(y, x, **options)
    return keras.Model({"source": source, "source_mask": mask, "target": target}, layers.GlobalAveragePooling1D()(crossed))


ANSWERS = {"token_ids": LONG, "padding_mask": (LONG != 0).astype("int32"), "answer_mask": ((LONG != 0) & (np.arange(8) > 0)).astype("int32")}
HAND = {"source": LONG, "source_mask": LONG != 0, "target": IDS}
HAND_LENGTHS = {"source": LONG_LENGTHS, "source_mask": LONG_LENGTHS, "target": LENGTHS}
MASKS = {
    "by hand and by mask_zero": (hand_and_zero, HAND, HAND_LENGTHS, ("source",), None),
    "by hand and by mask_zero, as many steps": (hand_and_zero, HAND | {"target": np.pad(IDS[[2, 0, 1]], ((0, 0), (0, 3)))}, HAND_LENGTHS | {"target": LENGTHS[[2, 0, 1]]}, ("source",), None),
    "by hand, unused, as many steps": (partial(hand_and_zero, False), HAND | {"target": np.pad(IDS[[2, 0, 1]], ((0, 0), (0, 3)))}, HAND_LENGTHS | {"target": LENGTHS[[2, 0, 1]]}, ("source",), "cross"),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_several_masks_each_for_its_own_steps(name):
    make, batch, lengths, spoiled, first = MASKS[name]
    model = make()
    moved = leak(model, batch, lengths, spoiled=spoiled)
    assert moved > LEAKS if first else moved < ROUNDING
    report, leaks = check_padding(model, batch), find_leaks(model, batch)
    assert report.ok == leaks.ok == (first is None), f"\n{report}\n{leaks}"
    assert first is None or {"amount", "content"} <= broken(report) and plain(leaks.first.name) == first, f"\n{report}\n{leaks}"


@pytest.mark.parametrize("attends, first", [(True, None), (False, "attend")], ids=["right", "unused"])
def test_a_mask_that_marks_some_of_the_valid_steps_is_not_taken_for_that_of_padding(attends, first):
    model = answers_in_text(attends)
    moved = leak(model, ANSWERS, dict.fromkeys(ANSWERS, LONG_LENGTHS), spoiled=("token_ids",))
    assert moved > LEAKS if first else moved < ROUNDING
    for options in ({}, {"lengths": dict.fromkeys(ANSWERS, LONG_LENGTHS)}):
        for tool in (check_padding, find_leaks):
            try:
                report = tool(model, ANSWERS, **options)
            except ValueError as refusal:  # two masks of one sequence are a riddle: what to pass solves it
                assert not options and "lengths" in str(refusal), refusal
            else:
                assert report.ok == (first is None), f"\n{report}"
                assert first is None or tool is check_padding or plain(report.first.name) == first, f"\n{report}"


# Compiled with unknown steps, fixed steps, neighbours.


class Unknown(layers.Layer):
    "Leaves padding out as long as it knows how many steps there are."

    def call(self, inputs, mask=None):
        if inputs.shape[1] is None:
            return ops.mean(inputs, axis=1)
        weights = ops.cast(mask, inputs.dtype)[:, :, None]
        return ops.sum(inputs * weights, axis=1) / ops.sum(weights, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor((inputs.shape[0], inputs.shape[2]))


class UnknownRows(Unknown):
    def call(self, inputs, mask=None):
        if inputs.shape[0] is None and inputs.shape[1] is None:
            return ops.mean(inputs, axis=1)
        return super().call(inputs[:, : inputs.shape[1]], mask)


class NeedsSteps(Unknown):
    def call(self, inputs, mask=None):
        weights = ops.cast(mask, inputs.dtype)[:, :, None] * ops.ones((1, inputs.shape[1], 1))
        return ops.sum(inputs * weights, axis=1) / ops.sum(weights, axis=1)


def in_a_graph(model, ids):
    "The answer of a graph that knows neither the number of sequences nor that of steps."
    return tf.function(lambda x: model(x), input_signature=[tf.TensorSpec((None, None), "int32")], autograph=False)(tf.constant(ids))


@pytest.mark.graphs
@pytest.mark.parametrize("kind", [Unknown, UnknownRows])
def test_a_graph_of_unknown_steps_is_tested_too(kind):
    model = stack(kind(name="unknown"))
    assert leak(model, IDS, LENGTHS) < ROUNDING
    assert np.abs(in_a_graph(model, IDS) - model(IDS)).max() > LEAKS
    report = check_padding(model, IDS)
    assert not report.ok and "compiled" in broken(report), f"\n{report}"


@pytest.mark.graphs
def test_what_cannot_run_with_unknown_steps_is_not_kept():
    model = stack(NeedsSteps(name="needs"))
    model(IDS)
    with pytest.raises((TypeError, ValueError)):
        in_a_graph(model, IDS)
    report = check_padding(model, IDS)
    assert report.clauses["compiled"].status != "kept", f"\n{report}"
    assert report.clauses["amount"].status == "kept"


def between_two(steps, change, second=layers.SimpleRNN):
    def build(ids):
        x = layers.SimpleRNN(4, return_sequences=True)(embed()(ids))
        return second(3, name="second")(change(x))

    return functional(build, steps=steps)


LOST = {
    "a product": (lambda steps: between_two(steps, lambda x: x * 1.5), "multiply"),
    "a layer": (lambda steps: between_two(steps, layers.RMSNormalization(name="norm")), "norm"),
    "nothing": (lambda steps: between_two(steps, layers.LayerNormalization()), None),
}


@pytest.mark.parametrize("name", LOST)
def test_a_mask_lost_between_two_recurrent_layers_of_a_fixed_length_is_found(name):
    make, first = LOST[name]
    moved = leak(make(None), IDS, LENGTHS)
    assert moved > LEAKS if first else moved < ROUNDING
    model = make(5)
    with pytest.raises(ValueError, match="shape"):
        model(IDS[:, :3])
    leaks = find_leaks(model, IDS)
    assert leaks.ok == (first is None) and (not first or plain(leaks.first.name) == first), f"\n{leaks}"
    if first != "norm":
        report = check_padding(model, IDS)
        assert report.clauses["amount"].status == ("broken" if first else "kept"), f"\n{report}"
    with pytest.raises(ValueError, match="shape"):  # the model itself is as it was
        model(IDS[:, :3])


class Zeroed(layers.Layer):
    def call(self, inputs, mask=None):
        return ops.where(mask[:, :, None], inputs, 0)


def test_where_no_free_copy_can_be_made_the_amount_could_not_be_tested_and_the_rest_is():
    right = functional(lambda ids: layers.Dense(2)(layers.Flatten()(Zeroed()(embed()(ids)))), steps=5)
    wrong = functional(lambda ids: layers.Dense(2)(layers.Flatten(name="flat")(embed()(ids))), steps=5)
    report = check_padding(right, IDS)
    assert report.clauses["amount"].status == "could not be tested" and report.clauses["content"].status == "kept", f"\n{report}"
    report = check_padding(wrong, IDS)
    assert report.clauses["amount"].status == "could not be tested" and {"content", "influence"} <= broken(report), f"\n{report}"
    assert find_leaks(wrong, IDS).first.name == "flat"


class OfAll(layers.Layer):
    "Looks at the other sequences of the batch."

    def __init__(self, how, **options):
        super().__init__(**options)
        self.how, self.supports_masking = how, True

    def call(self, inputs):
        return self.how(inputs)


NEIGHBOURS = {
    "their mean": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "the largest of all": lambda x: x / (1 + ops.max(ops.abs(x))),
    "the one before": lambda x: x + 0.5 * ops.roll(x, 1, axis=0),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_another_sequence_that_leaks_in_is_told_from_padding(name):
    model = keras.Sequential([embed(), layers.GlobalAveragePooling1D(), OfAll(NEIGHBOURS[name], name="mixes")])
    together = np.asarray(model(IDS))
    beside = model.layers[-1](tf.concat([together, 1000 * tf.ones((1, 4))], axis=0))
    assert np.abs(together - beside[:3]).max() > LEAKS
    report = check_padding(model, IDS)
    assert "neighbours" in broken(report), f"\n{report}"
    leaks = find_leaks(model, IDS)
    assert (leaks.first.name, leaks.first.verdict) == ("mixes", "mixes sequences"), f"\n{leaks}"


def test_rubbish_beside_a_sequence_is_no_alarm_for_a_right_model():
    model = stack(layers.LayerNormalization(), layers.GlobalAveragePooling1D())
    report = check_padding(model, IDS)
    assert report.ok and report.clauses["neighbours"].status == "kept", f"\n{report}"


# Inputs that are padded twice.


def documents(words=True, sentences=True):
    "(documents, sentences, words): a mean over words, then one over sentences, each with its padding left out or not."

    def mean(x, kept):
        weights = ops.cast(kept, x.dtype)[..., None]
        return ops.sum(x * weights, axis=-2) / ops.maximum(ops.sum(weights, axis=-2), 1)

    ids = keras.Input((None, None), dtype="int32", name="ids")
    valid = ops.not_equal(ids, 0)
    of_sentences = mean(embed(False)(ids), valid if words else ops.ones_like(valid))
    return keras.Model(ids, mean(of_sentences, ops.any(valid, axis=-1) if sentences else ops.any(ops.ones_like(valid), axis=-1)))


DOCUMENTS = np.zeros((3, 4, 5), "int32")
for _row, _count in enumerate((2, 4, 3)):
    for _sentence in range(_count):
        DOCUMENTS[_row, _sentence, : 1 + (_row + _sentence) % 5] = 1 + (_row + _sentence) % 9
SENTENCES = np.array([2, 4, 3])


@pytest.mark.parametrize("words, sentences", [(True, True), (True, False), (False, True)])
def test_the_second_padding_of_a_hierarchy_is_varied_or_the_report_says_that_it_was_not(words, sentences):
    model = documents(words, sentences)
    wider = np.asarray(model(np.pad(DOCUMENTS, ((0, 0), (0, 0), (0, 3)))))
    assert (np.abs(wider - model(DOCUMENTS)).max() < ROUNDING) == words
    longer = np.asarray(model(np.pad(DOCUMENTS, ((0, 0), (0, 2), (0, 0)))))
    assert (np.abs(longer - model(DOCUMENTS)).max() < ROUNDING) == sentences
    for report in (check_padding(model, DOCUMENTS), find_leaks(model, DOCUMENTS)):
        if words:
            assert report.ok == sentences, f"\n{report}"
        if report.ok:  # then the second padding was varied, or it is said that it was not
            assert words and sentences or any(re.search("axis|second|twice|inner", note) for note in report.notes), report.notes


# Half precision and many steps.


@pytest.mark.graphs
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_many_steps_in_half_precision_are_no_alarm(dtype):
    lengths = np.array([2000, 1100, 700])
    ids = np.random.default_rng(0).integers(1, 10, (3, 2000)) * valid_steps(lengths, 2000)
    model = chain(embed(dtype=dtype), layers.LayerNormalization(dtype=dtype), layers.Dense(4, activation="tanh", dtype=dtype), layers.GlobalAveragePooling1D(dtype=dtype), layers.Dense(2, dtype=dtype))
    report = check_padding(model, ids)
    assert report.ok, f"\n{report}"
    assert find_leaks(model, ids).ok


# Targets, weights, batches.


def lost(reduction="sum_over_batch_size"):
    "Its mask is lost; the default divides a weighted loss by the number of all elements, padded ones included."
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    return compiled(functional(lambda ids: layers.Dense(1)(embed()(ids) * 1.0)), loss)


WEIGHTS = VALID.astype("float32")
EACH = np.array([[1.0], [2.0], [0.5]], "float32")
WEIGHED = {
    "none": (lost, TAGS, None, "broken"),
    "for each step": (partial(lost, "mean_with_sample_weight"), TAGS, WEIGHTS, "kept"),
    "for each step, divided by all elements": (lost, TAGS, WEIGHTS, "broken"),
    "for each sequence, beside a mask": (lambda: compiled(stack(layers.Dense(1))), TAGS, EACH, "kept"),
    "for each sequence and one answer": (lambda: compiled(pooled()), np.ones((3, 2), "float32"), EACH[:, 0], "kept"),
}


@pytest.mark.parametrize("name", WEIGHED)
def test_sample_weight_is_part_of_the_loss(name):
    make, targets, weights, status = WEIGHED[name]
    model = make()
    # padding gets the weight 0 where steps are weighed
    short, long = (evaluated(model, IDS, targets, LENGTHS, more, weights)["loss"] for more in (0, 4))
    assert (abs(short - long) < 1e-5) == (status == "kept")
    report = check_padding(model, IDS, targets=targets, sample_weight=weights)
    assert report.clauses["loss"].status == status, f"\n{report}"


def test_audit_takes_weights_too():
    model = lost("mean_with_sample_weight")
    assert audit(model, IDS, TAGS, sample_weight=WEIGHTS).contract.clauses["loss"].status == "kept"
    assert audit(model, IDS, TAGS).contract.clauses["loss"].status == "broken"


def test_the_loss_of_the_output_that_counts_padding_is_named():
    ids = ids_input()
    x = embed()(ids)
    heads = {"good": layers.Dense(1, name="good")(x), "bad": layers.Dense(1, name="bad")(x * 1.0)}
    model = compiled(keras.Model(ids, heads), {"good": "mse", "bad": "mse"})
    for targets in ({"good": TAGS, "bad": TAGS},):
        clause = audit(model, IDS, targets).contract.clauses["loss"]
        assert clause.status == "broken" and "bad" in said(clause) and "good" not in said(clause), said(clause)


BATCHES = {
    "x": (lambda: Batches(SEQUENCES, batch_size=3), pooled, "not applicable"),
    "x and targets": (lambda: Batches(SEQUENCES, np.ones((3, 2), "float32"), batch_size=3), lambda: compiled(pooled()), "kept"),
    "x, targets and weights": (lambda: Batches(SEQUENCES, np.ones((3, 2), "float32"), np.array([1.0, 2.0, 3.0]), batch_size=3), lambda: compiled(pooled()), "kept"),
    "padded in front": (lambda: Batches(SEQUENCES, batch_size=3, padding="pre"), pooled, "not applicable"),
    "as a dataset": (lambda: Batches(SEQUENCES, np.ones((3, 2), "float32"), batch_size=3).as_dataset(), lambda: compiled(pooled()), "kept"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches_are_a_batch(name):
    batches, make, loss = BATCHES[name]
    report = check_padding(make(), batches())
    assert report.ok and report.clauses["loss"].status == loss, f"\n{report}"
    assert find_leaks(leaking(), Batches(SEQUENCES, batch_size=3)).first.name == "mean"


def test_looking_at_batches_does_not_move_them_on():
    batches = Batches(SEQUENCES, batch_size=3)
    epoch = batches.epoch
    find_leaks(pooled(), batches)
    assert batches.epoch == epoch


# What is refused, with what was wrong, where, and what to pass.


def two():
    return encoder_decoder(True)


def as_many(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


REFUSED = {
    "lengths for no input": (check_padding, two, [LONG, IDS], {"lengths": {"sauce": LENGTHS}}, "sauce(.|\n)*source"),
    "lengths for no input, find_leaks": (find_leaks, two, [LONG, IDS], {"lengths": {"sauce": LENGTHS}}, "sauce(.|\n)*source"),
    "lengths for no input, audit": (audit, two, [LONG, IDS], {"lengths": {"sauce": LENGTHS}}, "sauce(.|\n)*source"),
    "lengths for no input, lint": (lambda model, batch, **options: lint_batch(batch, **options), two, {"source": LONG}, {"lengths": {"sauce": LENGTHS}}, "sauce(.|\n)*source"),
    "a side for no input": (check_padding, two, [LONG, IDS], {"side": {"sauce": "pre"}}, "sauce(.|\n)*source"),
    "a static input that is none": (check_padding, two, [LONG, IDS], {"static": ("sauce",)}, "sauce(.|\n)*source"),
    "too many lengths": (check_padding, two, [LONG, IDS], {"lengths": {"source": [3, 5, 8, 2]}}, "source|lengths"),
    "a length that is too long": (check_padding, pooled, IDS, {"lengths": [3, 9, 2]}, "9"),
    "an unknown side": (check_padding, pooled, IDS, {"side": "left"}, "left(.|\n)*pre"),
    "a side that contradicts the mask": (check_padding, pooled, IDS, {"side": "pre"}, "pre(.|\n)*mask|mask(.|\n)*pre"),
    "a side that contradicts the mask, find_leaks": (find_leaks, pooled, IDS, {"side": "pre"}, "pre(.|\n)*mask|mask(.|\n)*pre"),
    "a side that contradicts a mask handed in": (check_padding, partial(answers_in_text), ANSWERS, {"side": "pre"}, "pre"),
    "lengths that contradict a mask handed in": (check_padding, partial(answers_in_text), ANSWERS, {"lengths": [8, 5, 3]}, "mask(.|\n)*lengths|lengths(.|\n)*mask"),
    "targets of another number": (audit, lambda: compiled(pooled()), IDS, {"targets": np.ones((2, 2))}, "2 targets|targets(.|\n)*2"),
    "targets of other steps": (audit, lambda: compiled(stack(layers.Dense(1))), IDS, {"targets": np.ones((3, 7, 1))}, "targets"),
    "targets of another size": (check_padding, lambda: compiled(pooled()), IDS, {"targets": np.ones((3, 4))}, "targets"),
    "targets for no output": (audit, lambda: taggers([], as_dict=True), IDS, {"targets": {"head_0": TAGS, "tail": TAGS}}, "tail(.|\n)*head_1"),
    "targets for too many outputs": (audit, lambda: taggers([]), IDS, {"targets": [TAGS, TAGS, TAGS]}, "targets"),
    "weights of another number": (check_padding, lost, IDS, {"targets": TAGS, "sample_weight": np.ones(2)}, "weight"),
    "weights of other steps": (audit, lost, IDS, {"targets": TAGS, "sample_weight": np.ones((3, 7))}, "weight"),
    "an id that is too large": (check_padding, pooled, np.where(IDS == 9, 14, IDS), {}, "14(.|\n)*embedding"),
    "an id that is too large, find_leaks": (find_leaks, two, [LONG, np.where(IDS == 9, 14, IDS)], {}, "14(.|\n)*embedding"),
    "a text model": (check_padding, text_model, np.array(["a b", "c"]), {}, "TextVectorization(.|\n)*(after|behind|ids)"),
    "an empty dataset": (check_padding, pooled, as_many(IDS).batch(3).take(0), {}, "dataset|empty|no batch"),
    "a dataset that is not batched": (find_leaks, pooled, as_many(np.array([3, 4, 5])), {}, "batch"),
    "a dataset of strings": (check_padding, pooled, as_many(np.array(["a", "b", "c"])).batch(3), {}, "string|text"),
    "a list of sequences": (check_padding, pooled, SEQUENCES, {}, "pad_sequences"),
    "no batch and no inputs": (find_leaks, lambda: stack(layers.GlobalAveragePooling1D()), None, {}, "pass a batch"),
    "no padding": (check_padding, pooled, IDS[[1, 1]], {}, "pad"),
    "one sequence": (find_leaks, pooled, IDS[:1], {}, "two sequences|sequence"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_with_what_was_wrong_and_where(name):
    tool, make, batch, options, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        tool(make(), batch, **options)


@pytest.mark.parametrize("names", [{"source": LONG_LENGTHS, "target": LENGTHS}, {"0": LONG_LENGTHS, "1": LENGTHS}], ids=["name", "place"])
def test_lengths_by_name_or_place_are_those_of_their_inputs(names):
    wrong, right = find_leaks(encoder_decoder(), [LONG, IDS], lengths=names), find_leaks(encoder_decoder(True), [LONG, IDS], lengths=names)
    assert right.ok and wrong.first.name == "encoder", f"\n{right}\n{wrong}"
    for report in (right, wrong):
        assert any("lengths" in note for note in report.notes), report.notes


@pytest.mark.parametrize("static", ["source", "0"])
def test_a_static_input_is_not_varied_and_the_report_says_so(static):
    reports = [find_leaks(encoder_decoder(), [LONG, IDS], static=(static,))]
    if static == "source":
        reports.append(check_padding(encoder_decoder(), [LONG, IDS], static=(static,)))
    for report in reports:
        assert report.ok and any("source" in note or "0" in note for note in report.notes), report.notes


def test_a_file_that_lacks_an_input_is_refused_with_its_name(command):
    code, _, err = command(encoder_decoder(), source=LONG)
    assert code == 2 and "target" in err
    code, _, err = command(saved(loss="mse"), ids=IDS, lengths__sauce=LENGTHS)
    assert code == 2 and "sauce" in err
