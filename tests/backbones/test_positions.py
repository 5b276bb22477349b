import math

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.backbones.positions import is_sincos, sincos_2d


def test_table_equals_mae(golden):
    reference = load_file(golden / "mae_optim" / "outputs.safetensors")["pos_embed"]  # 5 x 5 and the class token's row
    assert not reference[0].any()
    torch.testing.assert_close(sincos_2d(24, (5, 5)).double(), reference[1:], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("name", "dim", "rows", "columns"), [("4x4_dim8", 8, 4, 4), ("5x7_dim16", 16, 5, 7)])
def test_table_of_multimae_has_halves_and_axes_swapped(golden, name, dim, rows, columns):
    """FACTS.md §6.4: its first half counts along the outer loop, which runs over the columns."""
    reference = load_file(golden / "multimae_optim" / "outputs.safetensors")[f"posemb_{name}"]
    swapped = sincos_2d(dim, (columns, rows)).roll(dim // 2, dims=1)
    torch.testing.assert_close(swapped, reference[0].flatten(1).T, rtol=1e-4, atol=1e-5)


def test_rectangle_by_formula():
    dim, rows, columns = 8, 3, 5
    table = sincos_2d(dim, (rows, columns))
    for row in range(rows):
        for column in range(columns):
            expected = []
            for place in (column, row):
                angles = [place / 10000 ** (i / 2) for i in range(2)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert table[row * columns + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_result_is_the_callers_own():
    sincos_2d(8, (2, 2)).zero_()
    assert sincos_2d(8, (2, 2)).any()


def test_width_must_be_divisible_by_four():
    with pytest.raises(ValueError, match="divisible by 4, got 30"):
        sincos_2d(30, (2, 2))


def test_recognises_the_fixed_table_of_any_grid():
    table = sincos_2d(16, (3, 4))
    assert is_sincos(table)
    assert is_sincos(table.half())
    assert not is_sincos(table + 0.01)
    assert not is_sincos(table.flip(0))
    assert not is_sincos(torch.zeros(12, 6))
