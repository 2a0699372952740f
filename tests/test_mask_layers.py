"""The layers between others: what mask they give, on arrays and while a model is built."""

import keras
import numpy as np
import pytest

from masking_tutorial.mask_layers import MakeMaskFromLengths
from masking_tutorial.masks import get_mask

LENGTHS = np.array([3, 1, 0])
MASKS = {"post": [[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], "pre": [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]}


@pytest.mark.parametrize("side", MASKS)
@pytest.mark.parametrize("features", [(), (2,), (2, 3)])
def test_a_mask_from_lengths_marks_as_many_steps(side, features):
    steps = np.zeros((3, 4, *features), "float32")
    for lengths in (LENGTHS, LENGTHS[:, None]):
        assert keras.ops.convert_to_numpy(get_mask(MakeMaskFromLengths(side)([steps, lengths]))).astype(int).tolist() == MASKS[side]


@pytest.mark.parametrize("side", MASKS)
@pytest.mark.parametrize("known", [4, None])
def test_a_mask_from_lengths_is_part_of_a_model_of_any_number_of_steps(side, known, tmp_path):
    inputs = [keras.Input((known, 2), name="steps"), keras.Input((), dtype="int32", name="lengths")]
    model = keras.Model(inputs, get_mask(MakeMaskFromLengths(side)(inputs)))
    model.save(tmp_path / "model.keras")
    for version in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert keras.ops.convert_to_numpy(
            version([np.zeros((3, 4, 2), "float32"), LENGTHS])).astype(int).tolist() == MASKS[side]


def test_another_side_is_refused():
    with pytest.raises(ValueError, match="side is 'left': it must be 'pre' or 'post'"):
        MakeMaskFromLengths("left")
