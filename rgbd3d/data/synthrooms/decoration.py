"""Small things on furniture: what stands on tables and desks, what lies on beds and sofas."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.furniture import FURNITURE
from rgbd3d.data.synthrooms.shapes import Furniture
from rgbd3d.data.synthrooms.style import Style

_SMALL = ("cup", "bottle", "books_stack", "paper_sheets", "vase", "bowl", "photo_frame", "potted_plant")
_ON_TOP: dict[str, tuple[str, ...]] = {
    "counter": ("microwave", "bottle", "bottle", "cup", "bowl", "vase", "towel_stack", "paper_sheets",
                "potted_plant", "storage_bin", "cup"),
    "desk": ("desk_lamp", "books_stack", "books_row", "paper_sheets", "paper_sheets", "cup", "printer", "laptop",
             "photo_frame", "bottle", "storage_bin"),
    "night_stand": ("table_lamp", "table_lamp", "books_stack", "cup", "photo_frame", "bottle", "vase"),
    "dresser": ("table_lamp", "tv", "photo_frame", "vase", "folded_clothes", "books_row", "potted_plant", "bottle",
                "handbag", "towel_stack", "storage_bin"),
    "cabinet": ("table_lamp", "vase", "books_row", "photo_frame", "potted_plant", "bowl", "speaker", "paper_sheets",
                "towel_stack", "printer"),
    "table": (*_SMALL, "laptop", "paper_sheets", "handbag", "folded_clothes", "bowl"),
    "otherfurniture": ("towel_stack", "bottle", "storage_bin", "folded_clothes"),
}  # fmt: skip
_LYING: dict[str, tuple[tuple[str, float], ...]] = {
    "bed": (("clothes_pile", 0.4), ("folded_clothes", 0.3), ("towel_stack", 0.12), ("handbag", 0.12), ("laptop", 0.12),
            ("books_stack", 0.2), ("toy", 0.2), ("backpack", 0.12)),
    "sofa": (("clothes_pile", 0.2), ("handbag", 0.15), ("books_stack", 0.15), ("laptop", 0.12)),
}  # fmt: skip
_TRIES = 8
_SCREENS = ("tv", "tv", "monitor", "laptop")


def decorate(piece: Furniture, name: str, rng: np.random.Generator, style: Style) -> None:
    """Puts small things onto a new piece, in place.

    Args:
        piece: The piece; nothing is put on it unless it has a top, or is a bed or sofa.
        name: Its name in the catalogue.
        rng: Decides everything.
        style: Palette of the room.
    """
    if piece.label in _LYING:
        _scatter_lying(piece, rng, style)
    if name == "bathtub" and rng.random() < 0.45:
        _curtain(piece, rng, style)
    if piece.top is None or piece.top > 1.35:
        return
    taken = [(child.x, child.y, max(child.furniture.width, child.furniture.depth) / 2) for child in piece.children]
    if name == "desk":
        _work_place(piece, rng, style, taken)
    elif name == "tv_stand" and rng.random() < 0.85:
        _stand(piece, FURNITURE["tv"](rng, style), 0.0, -0.02, 0.0, taken)
    choice = _ON_TOP.get(piece.label, _SMALL)
    for _ in range(int(rng.integers(2, 4 + int(5 * piece.width)))):
        thing = FURNITURE[choice[int(rng.integers(len(choice)))]](rng, style)
        facing_front = thing.label in ("tv", "picture") or thing.depth > 0.3
        yaw = float(rng.normal(0, 0.15) if facing_front else rng.uniform(-3, 3))
        room = (piece.width - thing.width, piece.depth - thing.depth)
        if min(room) < 0.02:
            continue
        for _ in range(_TRIES):
            x, y = (float(rng.uniform(-r / 2, r / 2)) for r in room)
            if _stand(piece, thing, x, y, yaw, taken):
                break


def _work_place(
    piece: Furniture, rng: np.random.Generator, style: Style, taken: list[tuple[float, float, float]]
) -> None:
    screen = FURNITURE["monitor" if rng.random() < 0.75 else "laptop"](rng, style)
    x = float(rng.uniform(-0.15, 0.15)) * piece.width
    if not _stand(piece, screen, x, -piece.depth * 0.2, float(rng.normal(0, 0.1)), taken):
        return
    if screen.label == "tv":
        keyboard = FURNITURE["keyboard"](rng, style)
        reach = max(0.0, piece.width / 2 - keyboard.width / 2)
        piece.place(keyboard, float(np.clip(x, -reach, reach)), piece.depth * 0.25, piece.height)
        taken.append((x, piece.depth * 0.25, keyboard.width / 3))


def _stand(
    piece: Furniture, thing: Furniture, x: float, y: float, yaw: float, taken: list[tuple[float, float, float]]
) -> bool:
    """Puts a thing on the piece's top if it fits there and keeps clear of what is there already."""
    radius = max(thing.width, thing.depth) / 2
    if thing.width > piece.width or thing.depth > piece.depth:
        return False
    if any((x - a) ** 2 + (y - b) ** 2 < (0.85 * (radius + other)) ** 2 for a, b, other in taken):
        return False
    taken.append((x, y, radius))
    piece.place(thing, x, y, piece.top or piece.height, yaw)
    return True


def _curtain(piece: Furniture, rng: np.random.Generator, style: Style) -> None:
    """Hangs a shower curtain along the front edge of a bathtub."""
    cloth = FURNITURE["shower_curtain"](rng, style)
    slack = piece.width - cloth.width
    if slack >= 0:
        piece.place(cloth, float(rng.choice([-0.5, 0.5])) * slack, piece.depth / 2 - 0.08, 0.1)


def _scatter_lying(piece: Furniture, rng: np.random.Generator, style: Style) -> None:
    taken: list[tuple[float, float, float]] = []
    for name, probability in _LYING[piece.label]:
        if rng.random() > probability:
            continue
        thing = FURNITURE[name](rng, style)
        x = float(rng.uniform(-0.3, 0.3)) * piece.width
        y = float(rng.uniform(-0.1, 0.3)) * piece.depth
        height = surface_height(piece, x, y)
        radius = max(thing.width, thing.depth) / 2
        free = not any((x - a) ** 2 + (y - b) ** 2 < (radius + other) ** 2 for a, b, other in taken)
        if free and height is not None and height < 0.75:
            taken.append((x, y, radius))
            piece.place(thing, x, y, height - 0.01, float(rng.uniform(-3, 3)))


def surface_height(piece: Furniture, x: float, y: float) -> float | None:
    """Highest point in metres of the boxes around a piece's parts at (x, y); None beside the piece."""
    heights = []
    for part in piece.parts:
        low, high = part.extent()
        if low[0] <= x <= high[0] and low[1] <= y <= high[1]:
            heights.append(float(high[2]))
    return max(heights, default=None)
