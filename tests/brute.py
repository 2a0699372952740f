"""The truth about padding by brute force: each sequence alone, against several amounts of padding and other values there."""

import numpy as np


def _named(batch):
    if isinstance(batch, dict):
        return dict(batch)
    return dict(enumerate(batch)) if isinstance(batch, (list, tuple)) else {0: batch}


def _packed(batch, leaves):
    if isinstance(batch, dict):
        return leaves
    return type(batch)(leaves.values()) if isinstance(batch, (list, tuple)) else leaves[0]


def _flat(outputs):
    if isinstance(outputs, dict):
        return [leaf for name in sorted(outputs) for leaf in _flat(outputs[name])]
    return [leaf for part in outputs for leaf in _flat(part)] if isinstance(outputs, (list, tuple)) else [
        np.asarray(outputs, "float64")]


def _owned(batch, lengths):
    """The lengths of each input, or None."""
    names = list(_named(batch))
    if isinstance(lengths, dict):
        return {name: lengths.get(name) for name in names}
    several = isinstance(batch, (dict, list, tuple)) and any(own is None or np.ndim(own) for own in lengths)
    return dict(zip(names, lengths, strict=True)) if several else dict.fromkeys(names, lengths)


def valid_steps(lengths, steps, side="post"):
    """Which steps are valid, (batch, time) bool."""
    valid = np.arange(steps) < np.reshape(lengths, (-1, 1))
    return valid if side == "post" else valid[:, ::-1]


def repadded(
    batch,         # array, list or dict of arrays
    lengths,       # for each input, by place or name, its lengths; None for one that is never padded
    rows,          # the sequences that are wanted
    more=None,     # for each input, how many steps of padding more than the longest of the batch; None: the rows alone
    side="post",   # on which side the padding of the batch stands, and is put; or a dict by input
    fill=None,     # function of (input, its valid values, count) that gives other values for padding
):
    """The batch for some sequences, with another amount of padding or with other values there."""
    leaves, owned = {}, _owned(batch, lengths)
    for name, leaf in _named(batch).items():
        leaf, own = np.asarray(leaf), owned[name]
        if own is None:
            leaves[name] = leaf[rows]
            continue
        where = side[name] if isinstance(side, dict) else side
        own, valid = np.asarray(own), valid_steps(own, leaf.shape[1], where)
        steps = max(own[rows]) if more is None else leaf.shape[1] + more[name]
        new = np.zeros((len(rows), steps, *leaf.shape[2:]), leaf.dtype)
        if not valid.all():
            new[:] = leaf[~valid][0]
        there = valid_steps(own[rows], steps, where)
        if fill is not None and (values := fill(name, leaf[valid], int((~there).sum()))) is not None:
            new[~there] = values
        new[there] = leaf[rows][valid[rows]]
        leaves[name] = new
    return _packed(batch, leaves)


def leak(
    model,          # whatever takes the batch
    batch,          # array, list or dict of arrays
    lengths,        # as for repadded
    side="post",    # as for repadded
    spoiled=(),     # inputs whose padding may hold other values, since no mask is made of them
    amounts=(1, 4),  # steps of padding more than in the batch, for each input on its own and for all of them
    seed=0,
):
    """The largest change of a valid answer by padding, as a share of the largest answer."""
    random, names, own = np.random.default_rng(seed), list(_named(batch)), _owned(batch, lengths)
    rows = list(range(len(next(iter(_named(batch).values())))))
    alone = [_flat(model(repadded(batch, lengths, [row], side=side))) for row in rows]
    size = [max(np.abs(answer[k]).max(initial=0) for answer in alone) or 1.0 for k in range(len(alone[0]))]

    # inputs of the same lengths and steps are parts of one sequence, and grow together
    groups = {}
    for name, leaf in _named(batch).items():
        if own[name] is not None:
            groups.setdefault((tuple(own[name]), np.shape(leaf)[1]), []).append(name)
    growing = [*groups.values()] + [[name for group in groups.values() for name in group]] * (len(groups) > 1)

    def garbage(name, values, count):
        if name not in spoiled:
            return None
        drawn = values[random.integers(len(values), size=count)]
        return drawn * 3 + random.normal(size=drawn.shape) if drawn.dtype.kind == "f" else drawn

    def cut(part, expected, steps):
        """An axis that is longer than for the sequence alone is time."""
        for axis, length in enumerate(expected.shape):
            if part.shape[axis] != length:
                # with several sides, that of the input with as many steps
                where = side[steps[part.shape[axis]]] if isinstance(side, dict) else side
                first = part.shape[axis] - length if where == "pre" else 0
                part = np.take(part, range(first, first + length), axis)
        return part

    worst = 0.0
    for more in [{}] + [dict.fromkeys(group, extra) for group in growing for extra in amounts]:
        more = {name: more.get(name, 0) for name in names}
        steps = {np.shape(leaf)[1] + more[name]: name for name, leaf in _named(batch).items() if own[name] is not None}
        for fill in [None] + [garbage] * bool(spoiled):
            outputs = _flat(model(repadded(batch, lengths, rows, more, side, fill)))
            for row in rows:
                for k, expected in enumerate(alone[row]):
                    difference = np.abs(cut(outputs[k][row], expected[0], steps) - expected[0]).max(initial=0)
                    worst = float(np.maximum(worst, difference / size[k]))  # NaN stays NaN
    return worst


def apart(actual, expected):
    """The largest difference of two answers of one shape, as a share of the largest value of the second."""
    return max(float(np.abs(a - b).max(initial=0) / (np.abs(b).max(initial=0) or 1.0))
               for a, b in zip(_flat(actual), _flat(expected), strict=True))


def change_alone(model, mended, batch, lengths, side="post"):
    """The largest difference of two models for any sequence alone without padding, as a share of the largest answer."""
    rows = range(len(next(iter(_named(batch).values()))))
    alone = [repadded(batch, lengths, [row], side=side) for row in rows]
    return max(apart(mended(sequence), model(sequence)) for sequence in alone)


def evaluated(model, batch, targets, lengths, more, sample_weight=None):
    """What `evaluate` gives for a batch padded to `more` steps more; targets for each step get what stands at padding."""
    steps = np.shape(next(iter(_named(batch).values())))[1]

    def grown(part):
        part = np.asarray(part)
        if part.shape[1:2] != (steps,):
            return part
        rows = list(range(len(part)))
        return repadded(part, lengths, rows, {0: more})

    def by_input(parts):
        if isinstance(parts, dict):
            return {name: grown(part) for name, part in parts.items()}
        return [grown(part) for part in parts] if isinstance(parts, list) else None if parts is None else grown(parts)

    return model.evaluate(by_input(batch), by_input(targets), sample_weight=by_input(sample_weight), batch_size=64, verbose=0, return_dict=True)
