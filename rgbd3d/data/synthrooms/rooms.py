"""Room kinds: how large they are, and what may be in them.

Frequencies are those of indoor RGB-D benchmarks rather than of homes: small or rare classes (towels, clothes, night
stands, toilets) would otherwise hardly be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rgbd3d.card_data import Rooms

Wish = tuple[str, float]
"""Name in the catalogue and probability; repeated wishes may come true several times."""


@dataclass(frozen=True)
class Extent:
    """How far one sees.

    Attributes:
        lengthening: Deviation of the logarithm by which one side of a room is longer than its kind says.
        median_depth: Median of the median depths that cameras look for, in metres.
        depth_spread: Deviation of the logarithm of those.
    """

    lengthening: float
    median_depth: float
    depth_spread: float


EXTENTS: Mapping[Rooms, Extent] = MappingProxyType(
    {"compact": Extent(0.0, 2.7, 0.28), "deep": Extent(0.5, 2.8, 0.45)},
)
"""Deep rooms are halls and open plans now and then; depth is spread as in NYUv2's training frames (every fifth of the
first 675 labelled ones), whose median is 2.7 m, whose 90th percentile 3.9 m. In compact rooms the latter is 3.4 m."""


@dataclass(frozen=True)
class RoomKind:
    """What a kind of room is made of.

    Attributes:
        weight: Relative frequency.
        width, depth: Ranges of the extents in metres.
        wet: Tiles rather than paint and carpet.
        windows: Range of their number, inclusive.
        against: Furniture that stands with its back to a wall, the most important first.
        filler: Furniture and things that take the wall space which is left.
        centre: Furniture in the middle of the room; one of them is chosen.
        loose: Things on the floor.
        hung: Things on the walls.
    """

    weight: float
    width: tuple[float, float]
    depth: tuple[float, float]
    wet: bool
    windows: tuple[int, int]
    against: tuple[Wish, ...]
    filler: tuple[str, ...]
    centre: tuple[Wish, ...]
    loose: tuple[Wish, ...]
    hung: tuple[Wish, ...]


# fmt: off
ROOM_KINDS: Mapping[str, RoomKind] = MappingProxyType(
    {
        "bedroom": RoomKind(
            weight=0.25,
            width=(3.2, 5.2),
            depth=(3.0, 4.8),
            wet=False,
            windows=(1, 2),
            against=(("bed", 0.93), ("bunk_bed", 0.08), ("bed", 0.15), ("dresser", 0.85), ("wardrobe", 0.5),
                     ("desk", 0.35), ("bookshelf", 0.4), ("armchair", 0.3), ("tv_stand", 0.3), ("night_stand", 0.3)),
            filler=("clothes_rack", "bookshelf", "dresser", "storage_bin", "chair", "large_plant", "cabinet",
                    "suitcase", "metal_rack", "night_stand"),
            centre=(("rug", 0.5),),
            loose=(("clothes_pile", 0.6), ("clothes_pile", 0.3), ("backpack", 0.3), ("handbag", 0.2), ("toy", 0.35),
                   ("cardboard_box", 0.18), ("waste_bin", 0.2), ("suitcase", 0.15), ("storage_bin", 0.2),
                   ("person", 0.08)),
            hung=(("mirror", 0.7), ("picture", 0.95), ("picture", 0.8), ("picture", 0.6), ("picture", 0.4),
                  ("wall_shelves", 0.4), ("hanging_clothes", 0.35), ("wall_tv", 0.12), ("pin_board", 0.15),
                  ("wall_papers", 0.2), ("wall_lamp", 0.2), ("radiator", 0.25)),
        ),
        "living_room": RoomKind(
            weight=0.19,
            width=(4.0, 6.5),
            depth=(3.6, 5.6),
            wet=False,
            windows=(1, 3),
            against=(("sofa", 0.97), ("sofa", 0.4), ("tv_stand", 0.75), ("bookshelf", 0.65), ("armchair", 0.6),
                     ("fireplace", 0.25), ("cabinet", 0.6), ("bookshelf", 0.3), ("desk", 0.15)),
            filler=("bookshelf", "cabinet", "side_table", "large_plant", "armchair", "floor_lamp", "speaker",
                    "dresser"),
            centre=(("rug", 0.5), ("round_table", 0.15)),
            loose=(("toy", 0.4), ("handbag", 0.25), ("backpack", 0.2), ("cardboard_box", 0.15), ("large_plant", 0.3),
                   ("stool", 0.2), ("storage_bin", 0.2), ("person", 0.15)),
            hung=(("picture", 1.0), ("picture", 0.9), ("picture", 0.8), ("picture", 0.6), ("wall_shelves", 0.4),
                  ("mirror", 0.5), ("wall_tv", 0.2), ("clock", 0.2), ("wall_lamp", 0.2), ("radiator", 0.35)),
        ),
        "kitchen": RoomKind(
            weight=0.2,
            width=(2.8, 4.8),
            depth=(2.6, 4.4),
            wet=True,
            windows=(0, 1),
            against=(("counter", 1.0), ("refrigerator", 0.95), ("stove", 0.8), ("counter", 0.85), ("counter", 0.4),
                     ("washing_machine", 0.2), ("cabinet", 0.5)),
            filler=("cabinet", "metal_rack", "waste_bin", "chair", "washing_machine"),
            centre=(("dining_table", 0.35), ("round_table", 0.3)),
            loose=(("waste_bin", 0.5), ("handbag", 0.25), ("cardboard_box", 0.18), ("stool", 0.3), ("bath_mat", 0.3),
                   ("person", 0.12)),
            hung=(("wall_cabinet", 0.9), ("wall_cabinet", 0.6), ("towel_rail", 0.45), ("picture", 0.5),
                  ("clock", 0.35), ("wall_shelves", 0.4), ("wall_papers", 0.25), ("pin_board", 0.15),
                  ("radiator", 0.3)),
        ),
        "bathroom": RoomKind(
            weight=0.14,
            width=(2.0, 3.4),
            depth=(1.9, 3.2),
            wet=True,
            windows=(0, 1),
            against=(("bathtub", 0.65), ("toilet", 0.97), ("basin", 1.0), ("shower", 0.4), ("washing_machine", 0.2),
                     ("cabinet", 0.3)),
            filler=("cabinet", "waste_bin", "storage_bin", "metal_rack"),
            centre=(("bath_mat", 0.6),),
            loose=(("clothes_pile", 0.4), ("waste_bin", 0.5), ("storage_bin", 0.3), ("stool", 0.15)),
            hung=(("towel_rail", 0.95), ("towel_rail", 0.6), ("towel_hook", 0.7), ("mirror", 0.6),
                  ("wall_shelves", 0.3), ("picture", 0.3), ("wall_cabinet", 0.3), ("hanging_clothes", 0.15),
                  ("radiator", 0.4)),
        ),
        "dining_room": RoomKind(
            weight=0.09,
            width=(3.6, 5.6),
            depth=(3.4, 5.0),
            wet=False,
            windows=(1, 2),
            against=(("cabinet", 0.85), ("dresser", 0.4), ("bookshelf", 0.4), ("sofa", 0.2), ("fireplace", 0.15)),
            filler=("cabinet", "large_plant", "chair", "side_table", "bookshelf", "floor_lamp", "bench"),
            centre=(("dining_table", 0.75), ("round_table", 0.25)),
            loose=(("cardboard_box", 0.12), ("handbag", 0.2), ("large_plant", 0.3), ("toy", 0.2),
                   ("person", 0.12)),
            hung=(("picture", 1.0), ("picture", 0.85), ("picture", 0.7), ("picture", 0.5), ("mirror", 0.65),
                  ("clock", 0.25), ("wall_shelves", 0.3), ("wall_lamp", 0.25), ("radiator", 0.3)),
        ),
        "office": RoomKind(
            weight=0.11,
            width=(3.0, 5.8),
            depth=(2.8, 5.0),
            wet=False,
            windows=(0, 2),
            against=(("desk", 1.0), ("desk", 0.7), ("bookshelf", 0.75), ("cabinet", 0.65), ("bookshelf", 0.5),
                     ("desk", 0.3), ("metal_rack", 0.35), ("sofa", 0.15)),
            filler=("bookshelf", "cabinet", "metal_rack", "office_chair", "large_plant", "waste_bin", "storage_bin",
                    "chair"),
            centre=(("dining_table", 0.3), ("rug", 0.15)),
            loose=(("cardboard_box", 0.18), ("backpack", 0.4), ("waste_bin", 0.5), ("office_chair", 0.4),
                   ("suitcase", 0.1), ("person", 0.15)),
            hung=(("whiteboard", 0.65), ("pin_board", 0.4), ("wall_papers", 0.6), ("picture", 0.5),
                  ("wall_shelves", 0.5), ("clock", 0.25), ("hanging_clothes", 0.25), ("radiator", 0.3)),
        ),
        "library": RoomKind(
            weight=0.03,
            width=(4.0, 6.5),
            depth=(3.4, 5.5),
            wet=False,
            windows=(0, 1),
            against=(("bookshelf", 1.0), ("bookshelf", 1.0), ("bookshelf", 1.0), ("bookshelf", 0.9),
                     ("bookshelf", 0.8), ("metal_rack", 0.6), ("desk", 0.4), ("armchair", 0.5)),
            filler=("bookshelf", "bookshelf", "metal_rack", "cabinet", "bench"),
            centre=(("dining_table", 0.5), ("rug", 0.3)),
            loose=(("cardboard_box", 0.3), ("armchair", 0.3), ("stool", 0.4), ("backpack", 0.3), ("person", 0.15)),
            hung=(("wall_papers", 0.5), ("picture", 0.6), ("whiteboard", 0.2), ("clock", 0.2)),
        ),
    }
)
# fmt: on
"""Room kinds by name."""
