import math

import pytest
import torch

from rgbd3d.data.sources import open_source
from rgbd3d.geometry import (
    crop_intrinsics,
    flip_intrinsics,
    normals,
    project,
    register_depth,
    relative_pose,
    reproject,
    resize_intrinsics,
    sample,
    transform,
    unproject,
    warp,
)

K = torch.tensor([[300.0, 0.0, 30.5], [0.0, 280.0, 19.0], [0.0, 0.0, 1.0]])


def pixel_grid(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).float()


def rotation(angle: float) -> torch.Tensor:
    """About the y axis."""
    matrix = torch.eye(4)
    matrix[0, 0] = matrix[2, 2] = math.cos(angle)
    matrix[0, 2] = math.sin(angle)
    matrix[2, 0] = -math.sin(angle)
    return matrix


def test_unproject_follows_the_pinhole_formula():
    depth = 1 + torch.rand(1, 40, 60)
    x, y, z = unproject(depth, K)
    u, v = pixel_grid(40, 60)
    torch.testing.assert_close(z, depth[0])
    torch.testing.assert_close(x, (u - 30.5) / 300 * depth[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(y, (v - 19) / 280 * depth[0], atol=1e-6, rtol=1e-5)


def test_project_undoes_unproject_for_any_batch_dimensions():
    depth = 0.5 + torch.rand(2, 3, 1, 40, 60)
    intrinsics = K.expand(2, 3, 3, 3).clone()
    intrinsics[1, 2, 0, 0] = 250
    pixels, z = project(unproject(depth, intrinsics), intrinsics)
    torch.testing.assert_close(pixels, pixel_grid(40, 60).expand_as(pixels), atol=1e-3, rtol=0)
    torch.testing.assert_close(z, depth)


def test_points_behind_the_camera_and_invalid_depth_have_no_pixel():
    points = torch.tensor([0.1, 0.1, -1.0]).view(3, 1, 1)
    assert project(points, K)[0].isnan().all()
    depth = torch.ones(1, 4, 4)
    depth[0, 1, 2] = 0
    pixels, _ = reproject(depth, K, torch.eye(4))
    assert pixels.isnan().nonzero().tolist() == [[0, 1, 2], [1, 1, 2]]


def test_intrinsics_follow_resize_crop_and_flip():
    """A 3-D point lands on the same content before and after the image was changed."""
    point = torch.tensor([0.03, -0.02, 1.7]).view(3, 1, 1)
    x, y = project(point, K)[0].flatten().tolist()

    def seen(intrinsics: torch.Tensor) -> list[float]:
        return project(point, intrinsics)[0].flatten().tolist()

    # A pixel's distance from the image's left or top edge scales; the edge is at -0.5.
    assert seen(resize_intrinsics(K, (40, 60), (20, 90))) == pytest.approx([(x + 0.5) * 1.5 - 0.5, (y + 0.5) / 2 - 0.5])
    assert seen(crop_intrinsics(K, top=3, left=5)) == pytest.approx([x - 5, y - 3])
    mirrored = point * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    flipped = flip_intrinsics(K, 60)
    assert project(mirrored, flipped)[0].flatten().tolist() == pytest.approx([59 - x, y], abs=1e-4)
    assert torch.equal(flip_intrinsics(flipped, 60), K)


def test_resized_intrinsics_match_a_really_resized_image():
    """The centre of mass of a bright square, seen before and after antialiased resizing."""
    image = torch.zeros(1, 1, 40, 60)
    image[..., 9:15, 33:39] = 1
    small = torch.nn.functional.interpolate(image, (20, 30), mode="area")
    centre = (small[0] * pixel_grid(20, 30)).sum((1, 2)) / small.sum()
    ray = torch.linalg.inv(K) @ torch.tensor([35.5, 11.5, 1.0])
    seen, _ = project(ray.view(3, 1, 1), resize_intrinsics(K, (40, 60), (20, 30)))
    torch.testing.assert_close(seen.flatten(), centre)


def test_relative_pose_maps_between_cameras():
    first, second = rotation(0.3), rotation(-0.2)
    first[:3, 3], second[:3, 3] = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, 0.5, 0.0])
    points = torch.rand(3, 4, 5)
    torch.testing.assert_close(
        transform(transform(points, relative_pose(first, second)), second), transform(points, first)
    )


def test_warp_by_a_pure_shift_is_exact():
    """A plane at 3 m seen from 2 pixels' worth further left."""
    image = torch.rand(1, 3, 40, 60)
    depth = torch.full((1, 1, 40, 60), 3.0)
    to_other = torch.eye(4)[None].clone()
    to_other[0, 0, 3] = 2 * 3 / 300
    warped, valid = warp(image, depth, K[None], to_other)
    torch.testing.assert_close(warped[..., :58], image[..., 2:], atol=1e-4, rtol=0)
    assert valid[..., :58].all()
    assert not valid[..., 58:].any()
    assert warped[..., 58:].abs().max() == 0


def test_sample_never_leaks_nan_into_gradients():
    values = torch.rand(1, 2, 5, 5, requires_grad=True)
    pixels = pixel_grid(5, 5)[None]
    pixels[0, :, 2, 2] = torch.nan
    sampled, inside = sample(values, pixels)
    sampled.sum().backward()
    assert inside.sum() == 24
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert values.grad[0, 0, 2, 2] == 0


def register_by_loops(depth, intrinsics, to_other, other_intrinsics, size):
    """Pixel by pixel, in double precision."""
    result = torch.full(size, math.inf, dtype=torch.float64)
    inverse = torch.linalg.inv(intrinsics.double())
    for row, line in enumerate(depth[0].tolist()):
        for column, z in enumerate(line):
            if z <= 0:
                continue
            point = inverse @ torch.tensor([column, row, 1], dtype=torch.float64) * z
            point = to_other[:3, :3].double() @ point + to_other[:3, 3].double()
            if point[2] <= 0:
                continue
            x, y, _ = (other_intrinsics.double() @ point / point[2]).tolist()
            x, y = round(x), round(y)
            if 0 <= x < size[1] and 0 <= y < size[0]:
                result[y, x] = min(result[y, x].item(), point[2].item())
    return torch.where(result.isinf(), 0, result)[None].float()


def test_registered_depth_is_that_of_a_loop_over_the_pixels():
    generator = torch.Generator().manual_seed(0)
    depth = 0.5 + 3 * torch.rand(1, 30, 40, generator=generator)
    depth[torch.rand(1, 30, 40, generator=generator) < 0.2] = 0
    here = torch.tensor([[41.3, 0, 19.7], [0, 40.9, 14.2], [0, 0, 1]])
    there = torch.tensor([[23.1, 0, 12.1], [0, 23.7, 8.9], [0, 0, 1]])
    to_other = rotation(0.1)
    to_other[:3, 3] = torch.tensor([-0.07, 0.02, -1.0])
    registered = register_depth(depth, here, to_other, there, (18, 25))
    expected = register_by_loops(depth, here, to_other, there, (18, 25))
    assert (expected > 0).sum() > 200
    torch.testing.assert_close(registered, expected, atol=1e-5, rtol=1e-5)


def test_registering_to_the_same_camera_changes_nothing():
    generator = torch.Generator().manual_seed(1)
    depth = torch.rand(2, 3, 1, 12, 16, generator=generator)
    intrinsics = torch.tensor([[20.0, 0, 7.5], [0, 20, 5.5], [0, 0, 1]])
    torch.testing.assert_close(register_depth(depth, intrinsics, torch.eye(4), intrinsics), depth)
    assert not register_depth(torch.zeros(1, 12, 16), intrinsics, torch.eye(4), intrinsics).any()


def test_registering_a_map_of_more_pixels_than_float32_counts():
    depth = torch.ones(1, 5000, 4000)
    intrinsics = torch.tensor([[4000.0, 0, 2000], [0, 4000, 2500], [0, 0, 1]])
    assert (register_depth(depth, intrinsics, torch.eye(4), intrinsics) > 0).all()


def test_registered_depth_keeps_the_nearest_surface():
    """Two pixels land on one of a camera with half the focal length."""
    depth = torch.tensor([[[1.0, 2.0, 0.0, 3.0]]])
    here, there = torch.diag(torch.tensor([4.0, 4, 1])), torch.diag(torch.tensor([1.0, 1, 1]))
    assert register_depth(depth, here, torch.eye(4), there)[0, 0].tolist() == [1, 3, 0, 0]


def test_normals_of_a_tilted_plane_are_constant_and_face_the_camera():
    expected = torch.tensor([0.4, -0.3, -0.8])
    expected /= expected.norm()
    rays = unproject(torch.ones(1, 40, 60), K)
    depth = (-2 / (expected.view(3, 1, 1) * rays).sum(0))[None]  # n . (z ray) = -2: plane 2 m away
    depth[0, 10, 10] = 0
    surface = normals(depth, K)
    inner = torch.ones(40, 60, dtype=torch.bool)
    inner[[0, -1], :] = inner[:, [0, -1]] = False
    for row, column in ((10, 10), (9, 10), (11, 10), (10, 9), (10, 11)):
        inner[row, column] = False
    torch.testing.assert_close(surface[:, inner], expected[:, None].expand(3, int(inner.sum())), atol=2e-3, rtol=0)
    assert surface[:, ~inner].abs().max() == 0


@pytest.mark.parametrize(
    ("segment", "error", "photometric"), [("7scenes_redkitchen_a", 0.005, 0.4), ("sun3d_lounge_b", 0.008, 0.6)]
)
def test_real_frames_reproject_onto_each_other(rgbd_frames, segment, error, photometric):
    """Half a second apart: the median depth error is that of the data set's README, and warping aligns the colours."""
    source = open_source(rgbd_frames / "frames7" / segment)
    errors, aligned, unaligned = [], [], []
    for index in (0, 15, 30):
        here, there = source[index], source[index + 15]
        to_other = relative_pose(here["pose"], there["pose"])
        pixels, z = reproject(here["depth"], here["intrinsics"], to_other)
        seen, inside = sample(there["depth"][None], pixels[None], "nearest")
        both = inside[0] & (seen[0] > 0)
        errors.append(((z - seen[0]).abs() / z)[both].median())
        image = here["image"].float()
        warped, valid = warp(
            there["image"][None].float(), here["depth"][None], here["intrinsics"][None], to_other[None]
        )
        covered = valid[0].expand_as(image)
        aligned.append((warped[0] - image).abs()[covered].mean())
        unaligned.append((there["image"].float() - image).abs()[covered].mean())
    assert torch.stack(errors).median() < error
    assert torch.stack(aligned).mean() < photometric * torch.stack(unaligned).mean()
