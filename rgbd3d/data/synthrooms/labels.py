"""The NYU40 label space that every surface of a rendered room belongs to."""

from __future__ import annotations

from types import MappingProxyType

from rgbd3d.data.label_spaces import class_names

_SHORTER = {"refridgerator": "refrigerator", "television": "tv"}

NYU40: tuple[str, ...] = (
    "void",
    *(_SHORTER.get(name, name.replace(" ", "_")) for name in class_names("nyu40")),
)
"""Names by id: 0 is void (unlabelled), 1 to 40 are the classes in the order of the NYU40 benchmark."""

LABEL_ID = MappingProxyType({name: index for index, name in enumerate(NYU40)})
"""Id of every name in `NYU40`."""
