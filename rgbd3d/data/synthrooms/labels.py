"""The NYU40 label space that every surface of a rendered room belongs to."""

from __future__ import annotations

from types import MappingProxyType

NYU40: tuple[str, ...] = (
    "void", "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window",
    "bookshelf", "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
    "floor_mat", "clothes", "ceiling", "books", "refrigerator", "tv", "paper", "towel", "shower_curtain", "box",
    "whiteboard", "person", "night_stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure",
    "otherfurniture", "otherprop",
)  # fmt: skip
"""Names by id: 0 is void (unlabelled), 1 to 40 are the classes in the order of the NYU40 benchmark."""

LABEL_ID = MappingProxyType({name: index for index, name in enumerate(NYU40)})
"""Id of every name in `NYU40`."""
