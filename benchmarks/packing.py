"""Packing the snippets: `pack_sequences`, which sees all lengths first, beside Grain's packers, which read a stream.

Each contender packs the same sentences into rows of the same length. A packer that holds more rows open needs fewer
rows in the end, takes longer for each sequence, and hands on its first row later.
"""

import numpy as np

from benchmarks.common import arguments, bars, installed, machine, side_by_side, table, verdict
from masking_tutorial.batching import pack_sequences
from masking_tutorial.datasets import Tokenizer, load_snippets

OURS = "pack_sequences"
BINS = (16, 128, 512)


def packers(sequences, steps):
    """For each contender a function that packs all sentences and returns the number of rows; None if it is missing."""
    contenders = {OURS: lambda: len(pack_sequences(sequences, steps).values)}
    if not installed("grain"):
        return contenders | {f"Grain, {kind}, {bins} rows": None for kind in ("first fit", "best fit") for bins in BINS}
    import grain

    stream = grain.MapDataset.source([{"ids": sequence} for sequence in sequences]).to_iter_dataset()

    def pack(packer, bins):
        return sum(1 for _ in packer(stream, length_struct={"ids": steps}, num_packing_bins=bins))

    for kind, packer in (("first fit", grain.experimental.FirstFitPackIterDataset),
                         ("best fit", grain.experimental.BestFitPackIterDataset)):
        for bins in BINS:
            contenders[f"Grain, {kind}, {bins} rows"] = lambda packer=packer, bins=bins: pack(packer, bins)
    return contenders


def main():
    options = arguments(__doc__, rounds=3, sequences=19_503, steps=64)
    machine()
    texts = load_snippets().texts[:options.sequences]
    sequences = [np.array(sequence[:options.steps], "int32")
                 for sequence in Tokenizer.from_texts(texts, size=5000)(texts)]
    tokens = sum(map(len, sequences))
    contenders = packers(sequences, options.steps)
    rows = {name: function() if function else None for name, function in contenders.items()}
    seconds = side_by_side(contenders, options.rounds)
    padding = {name: None if count is None else 1 - tokens / (count * options.steps) for name, count in rows.items()}
    table(f"{len(sequences):,} sentences in rows of {options.steps} steps: medians of {options.rounds} rounds",
          ["packer", "rows", "padding", "seconds", "/ ours"],
          [[name, count and f"{count:,}", count and f"{padding[name]:.2%}", seconds[name],
            seconds[name] and seconds[name] / seconds[OURS]] for name, count in rows.items()])
    print()
    peers = [name for name, count in rows.items() if count is not None and name != OURS]
    if peers:
        verdict("fewest rows", all(rows[OURS] <= rows[name] for name in peers))
        verdict("fastest", all(seconds[OURS] <= seconds[name] for name in peers))
    bars("packing", "Packing the snippets", {"share of padding": padding}, "share of the cells", marked=(OURS,))


if __name__ == "__main__":
    main()
