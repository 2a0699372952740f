"""Real tokens a second in training, for the ways to make batches of the snippets.

An attention model and a GRU are trained on the three domains mixed. Padding is computed, but not counted. In every
round each contender trains on the next batches of its own, until it has seen a number of real tokens. They take turns,
several in a round, so that a busy moment of the machine meets all alike; turns of a few batches would be too short,
since `prefetch` works while others train. A round is an epoch: long sentences are dear and rare, and the median of
shorter rounds would leave them out.

Judge by the processor's time. By the clock, a pipeline of tf.data may wait while those of others are open, and what
else the machine does counts, too.

Some contenders are there a second time, with the batches of an epoch as ready tensors. They say what the batches
allow, however quickly they are made. Among them are the sentences without any padding, each batch of one length: the
attention of a long sentence costs more for each token, so this is the most that real lengths can reach.

Then each is trained for some epochs from several seeds, and its accuracy on held-out sentences is compared.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time
from statistics import mean, stdev
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from benchmarks.common import arguments, bars, machine, table, verdict
from masking_tutorial.batching import Batches, pack_sequences, segment_mean
from masking_tutorial.datasets import Tokenizer, load_snippets
from masking_tutorial.padding import pad_sequences

BATCH = 64  # sentences
ROW = 64  # steps of a packed row; the few longer sentences are cut
WORDS = 5000
BOUNDARIES = [8, 16, 24, 32, 48, 64]  # of the buckets of tf.data
OURS = ["ours, 64 sentences and a cap", "ours, token budget"]  # a cap on the cells of the few batches of long ones
TURNS = 8  # of each contender in a round
BUCKETS, IDEAL, NO_PADDING = "tf.data buckets", "ideal: equal lengths", "real lengths, no padding"


class AttentionModel(keras.Model):
    """A transformer block; one logit for each sentence, or for each segment of packed rows."""

    def __init__(self, longest, size=64):
        super().__init__()
        self.tokens, self.places = layers.Embedding(WORDS, size), layers.Embedding(longest, size)
        self.attention = layers.MultiHeadAttention(4, size // 4)
        self.wide, self.narrow = layers.Dense(2 * size, activation="relu"), layers.Dense(size)
        self.first, self.second, self.logit = layers.LayerNormalization(), layers.LayerNormalization(), layers.Dense(1)

    def call(self, x):
        if isinstance(x, tuple):
            ids, segments, positions, count = x
            mask = segments[:, :, None] == segments[:, None, :]
        else:
            ids = x
            segments, positions, count = ops.cast(ids != 0, "int32"), ops.arange(ops.shape(ids)[1])[None], 1
            mask = (ids != 0)[:, None, :]
        x = self.tokens(ids) + self.places(positions)
        x = self.first(x + self.attention(x, x, attention_mask=mask))
        x = self.second(x + self.narrow(self.wide(x)))
        if isinstance(count, int):
            weights = ops.cast(segments, "float32")[:, :, None]
            pooled = ops.sum(x * weights, axis=1, keepdims=True) / ops.sum(weights, axis=1, keepdims=True)
        else:
            pooled = segment_mean(x, segments, count)
        return self.logit(pooled)[:, :, 0]


class GruModel(keras.Model):
    """A GRU; one logit for each sentence."""

    def __init__(self, longest, size=64):
        super().__init__()
        self.tokens, self.gru, self.logit = layers.Embedding(WORDS, size), layers.GRU(size), layers.Dense(1)

    def call(self, x):
        return self.logit(self.gru(self.tokens(x), mask=x != 0))


class Packs(keras.utils.PyDataset):
    """Batches of packed rows; sentences are packed anew in each epoch, from runs of shuffled ones."""

    def __init__(self, sequences, targets, rows, seed=0, run=2000):
        super().__init__()
        self.sequences, self.targets, self.rows, self.seed, self.run = sequences, targets, rows, seed, run
        self.epoch = 0

    def __iter__(self):
        random = np.random.default_rng([self.seed, self.epoch])
        order, batches = random.permutation(len(self.sequences)), []
        for start in range(0, len(order), self.run):
            chosen = order[start : start + self.run]
            packed = pack_sequences([self.sequences[number] for number in chosen], ROW)
            shape = (len(packed.values), int(packed.segment_ids.max()))
            targets, weights = np.zeros((2, *shape), "float32")
            places = packed.rows, packed.segment_ids[packed.rows, packed.starts] - 1
            targets[places], weights[places] = self.targets[chosen], 1
            mixed = random.permutation(len(packed.values))
            for first in range(0, len(mixed), self.rows):
                rows = mixed[first : first + self.rows]
                x = packed.values[rows], packed.segment_ids[rows], packed.positions[rows], np.int32(shape[1])
                batches.append((x, targets[rows], weights[rows]))
        random.shuffle(batches)
        self.epoch += 1
        yield from batches

    def as_dataset(self):
        cells = tf.TensorSpec((None, ROW), tf.int32)
        answers = tf.TensorSpec((None, None), tf.float32)
        signature = ((cells, cells, cells, tf.TensorSpec((), tf.int32)), answers, answers)
        return tf.data.Dataset.from_generator(lambda: iter(self), output_signature=signature).prefetch(2)


def sources(ids, targets, longest, seed=0):
    """The contenders: for each a dataset, or Batches, of (x, targets) or (x, targets, weights), an epoch long."""
    targets = targets[:, None].astype("float32")
    everything = tf.data.Dataset.from_tensor_slices((pad_sequences(ids, longest, padding="post"), targets))
    tokens, lengths = np.concatenate(ids).astype("int32"), np.array([len(sentence) for sentence in ids])
    average = round(lengths.mean())
    values = tf.constant(tokens)  # each sentence is a slice of it: no Python in the pipeline
    places = tf.data.Dataset.from_tensor_slices((np.cumsum(lengths) - lengths, lengths, targets))
    one_by_one = places.map(lambda start, length, y: (values[start : start + length], y))
    shuffled = one_by_one.shuffle(len(ids), seed=seed)
    # the same tokens, cut into pieces of one length
    count = len(tokens) // average
    pieces = tf.data.Dataset.from_tensor_slices(
        (tokens[: count * average].reshape(count, average), np.resize(targets, (count, 1))))
    cut = [sentence[:ROW] for sentence in ids]
    return {
        "longest of all": everything.shuffle(len(ids), seed=seed).batch(BATCH).prefetch(2),
        "longest of the batch": shuffled.padded_batch(BATCH).prefetch(2),
        BUCKETS: shuffled.bucket_by_sequence_length(
            lambda x, y: tf.shape(x)[0], BOUNDARIES, [BATCH] * (len(BOUNDARIES) + 1)).prefetch(2),
        "ours, 64 sentences": Batches(ids, targets, batch_size=BATCH, seed=seed),
        OURS[0]: Batches(ids, targets, batch_size=BATCH, token_budget=3 * BATCH * average, seed=seed),
        OURS[1]: Batches(ids, targets, token_budget=BATCH * average, equal_weights=True, seed=seed),
        "ours, token budget, as_dataset":
            Batches(ids, targets, token_budget=BATCH * average, equal_weights=True, seed=seed).as_dataset(),
        "ours, window of 4096": Batches(ids, targets, batch_size=BATCH, window=4096, seed=seed),
        "packed": Packs(cut, targets[:, 0], BATCH * average // ROW, seed=seed).as_dataset(),
        IDEAL: pieces.shuffle(count, seed=seed).batch(BATCH, drop_remainder=True).prefetch(2),
    }


def ready(batches):
    """The batches of an epoch as tensors."""
    return [tf.nest.map_structure(tf.constant, batch) for batch in batches]


def without_padding(ids, targets, cells):
    """Ready batches of sentences of one length, as many as the cells hold; what does not fill one is left out."""
    lengths, batches = np.array([len(sentence) for sentence in ids]), []
    for steps in np.unique(lengths):
        numbers, rows = np.flatnonzero(lengths == steps), cells // steps
        for start in range(0, len(numbers) - rows + 1, rows):
            batch = numbers[start : start + rows]
            x = np.array([ids[number] for number in batch], "int32")
            batches.append((x, targets[batch, None].astype("float32")))
    np.random.default_rng(0).shuffle(batches)
    return ready(batches)


def trainer(model, signature):
    """A compiled training step with open dimensions: it returns the number of real tokens."""
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function(input_signature=[signature])
    def step(batch):
        x, targets, *weights = batch
        with tf.GradientTape() as tape:
            logits = model(x)
            loss = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
            weights = tf.reshape(weights[0], tf.shape(loss)) if weights else tf.ones_like(loss)
            # in packed rows a place without a sentence has the weight 0
            loss = tf.reduce_sum(loss * weights) / tf.cast(tf.math.count_nonzero(weights), tf.float32)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        ids = x[0] if isinstance(x, tuple) else x
        return tf.math.count_nonzero(ids)

    return step


def padding_of(batches):
    """The share of the cells of an epoch that is padding."""
    real = cells = 0
    for x, *_ in batches:
        ids = np.asarray(x[0] if isinstance(x, tuple) else x)
        real, cells = real + np.count_nonzero(ids), cells + ids.size
    return 1 - real / cells


def signature_of(batches):
    """What a batch looks like, with batch and steps left open."""
    if isinstance(batches, list):
        spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, batches[0])
    else:
        spec = (batches.as_dataset() if isinstance(batches, Batches) else batches).element_spec
    return tf.nest.map_structure(
        lambda part: tf.TensorSpec([None if place < 2 else size for place, size in enumerate(part.shape)], part.dtype),
        spec)


def epoch_after_epoch(batches):
    while True:
        yield from batches


def build(kind, longest, seed):
    keras.utils.set_random_seed(seed)
    model = kind(longest)
    model(np.ones((2, 3), "int32"))
    return model


class Speed(NamedTuple):
    """Real tokens a second, and the share of the cells that is padding."""
    wall: float
    processor: float  # for a second of the processor's time, which another load on the machine changes less
    padding: float


class Contender:
    """A model of its own, trained on batches without end."""
    def __init__(self, model, batches):
        self.padding = padding_of(batches)
        self.step, self.batches = trainer(model, signature_of(batches)), epoch_after_epoch(batches)
        self.turns = []  # (tokens, seconds, seconds of the processor)

    def train(self, tokens):
        """Train on this many real tokens or a few more."""
        started, busy, seen = time.perf_counter(), time.process_time(), 0
        while seen < tokens:
            seen += int(self.step(next(self.batches)))
        self.turns.append((seen, time.perf_counter() - started, time.process_time() - busy))

    def speed(self):
        """The median of the rounds."""
        seen, wall, busy = np.reshape(self.turns, (-1, TURNS, 3)).sum(axis=1).T
        return Speed(float(np.median(seen / wall)), float(np.median(seen / busy)), self.padding)


def throughput(kind, ids, targets, longest, rounds, tokens):
    """The Speed of each contender, and that of some whose batches are ready tensors."""
    made = sources(ids, targets, longest)
    if kind is not AttentionModel:
        del made["packed"]
    at_hand = {name: ready(made[name]) for name in (BUCKETS, *OURS, IDEAL)}
    at_hand[NO_PADDING] = without_padding(ids, targets, BATCH * round(mean(map(len, ids))))
    groups = [{name: Contender(build(kind, longest, 0), batches) for name, batches in group.items()}
              for group in (made, at_hand)]
    contenders = [contender for group in groups for contender in group.values()]
    for contender in contenders:
        contender.train(tokens // 20)  # it compiles
        contender.turns.clear()
    for number in range(rounds):
        for contender in contenders * TURNS:
            contender.train(tokens // TURNS)
        print(f"{kind.__name__}: round {number + 1} of {rounds}", flush=True)
    return [{name: contender.speed() for name, contender in group.items()} for group in groups]


def accuracies(kind, learned, held_out, longest, epochs, seeds):
    """For some contenders the accuracy on held-out sentences, for each seed."""
    held_ids, held_targets = held_out
    batches = Batches(held_ids, held_targets, batch_size=256, shuffle=False)
    scores = {}
    for seed in range(seeds):
        for name, dataset in sources(*learned, longest, seed).items():
            if name not in ("longest of the batch", *OURS, "packed") or name == "packed" and kind is not AttentionModel:
                continue  # how much padding a random batch has does not matter to a model with a mask
            model = build(kind, longest, seed)
            step = trainer(model, signature_of(dataset))
            for _ in range(epochs):
                for batch in dataset:
                    step(batch)
            right = sum(int(np.sum((model(x).numpy()[:, 0] > 0) == y)) for x, y in batches)
            scores.setdefault(name, []).append(right / len(held_targets))
            print(f"{kind.__name__}, seed {seed}, {name}: {scores[name][-1]:.3f} of the held-out answers are right",
                  flush=True)
    return scores


COLUMNS = ["batches", "tokens/s", "/ buckets", "/ ideal", "by CPU: / buckets", "/ ideal", "padding"]


def compared(speeds):
    """A row of the table for each Speed."""
    bucketed, ideal = speeds[BUCKETS], speeds[IDEAL]
    return [[name, f"{speed.wall:,.0f}", speed.wall / bucketed.wall, speed.wall / ideal.wall,
             speed.processor / bucketed.processor, speed.processor / ideal.processor, f"{speed.padding:.1%}"]
            for name, speed in speeds.items()]


def main():
    options = arguments(__doc__, rounds=3, tokens=345_000, seeds=3, epochs=2)
    machine()
    snippets = load_snippets()
    order = np.random.default_rng(0).permutation(len(snippets.texts))
    ids = Tokenizer.from_texts(snippets.texts, size=WORDS - 2)(snippets.texts)
    longest = max(map(len, ids))
    positive = snippets.ratings > 0
    held_out, learned = [([ids[number] for number in part], positive[part]) for part in (order[:3000], order[3000:])]
    speeds, missed = {}, []
    for kind in (AttentionModel, GruModel):
        made, at_hand = throughput(kind, *learned, longest, options.rounds, options.tokens)
        scores = accuracies(kind, learned, held_out, longest, options.epochs, options.seeds)
        accuracy = {name: f"{mean(shares):.3f} ± {stdev(shares) if len(shares) > 1 else 0:.3f}"
                    for name, shares in scores.items()}
        table(f"{kind.__name__}: {options.rounds} rounds of {options.tokens:,} real tokens; held-out accuracy after "
              f"{options.epochs} epochs, mean and deviation of {options.seeds} seeds",
              [*COLUMNS, "accuracy"], [[*row, accuracy.get(row[0])] for row in compared(made)])
        table(f"{kind.__name__}: the same with ready tensors, what the batches allow", COLUMNS, compared(at_hand))
        speeds[kind.__name__] = {name: speed.processor / made[IDEAL].processor for name, speed in made.items()}

        random = scores["longest of the batch"]
        spread = max(random) - min(random)
        for name in OURS:
            quicker = {base: made[name].processor / made[base].processor for base in ("longest of all", BUCKETS, IDEAL)}
            missed += [(f"{kind.__name__} ({name}): {aim}", holds) for aim, holds in {
                "6 times padding to the longest": quicker["longest of all"] >= 6,
                "1.35 times bucket_by_sequence_length": quicker[BUCKETS] >= 1.35,
                "less than 3% of the cells are padding": made[name].padding < 0.03,
                "within 5% of the ideal": quicker[IDEAL] >= 0.95,
                "accuracy of random batches, or more, within the spread of the seeds":
                    mean(scores[name]) >= mean(random) - spread,
            }.items()]
    print()
    for aim, holds in missed:
        verdict(aim, holds)
    bars("training", "Real tokens for each second of the processor", speeds, "share of the ideal", marked=OURS)


if __name__ == "__main__":
    main()
