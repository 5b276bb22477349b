"""All protocols that score a trained model, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rgbd3d.evaluation.protocols_base import ScoredProtocol, find
from rgbd3d.evaluation.protocols_depth import DEPTH_PROTOCOLS
from rgbd3d.evaluation.protocols_instances import INSTANCE_PROTOCOLS
from rgbd3d.evaluation.protocols_semantic import SEMANTIC_PROTOCOLS

SCORED_PROTOCOLS: Mapping[str, ScoredProtocol[Any]] = MappingProxyType(
    {protocol.name: protocol for protocol in (*SEMANTIC_PROTOCOLS, *DEPTH_PROTOCOLS, *INSTANCE_PROTOCOLS)}
)


def find_scored(name: str) -> ScoredProtocol[Any]:
    """One of `SCORED_PROTOCOLS`; see `find`."""
    return find(name, SCORED_PROTOCOLS)


def protocol_table() -> str:
    """The protocols and what decides their numbers, as a table in Markdown."""
    lines = ["| protocol | data | labels | what is scored |", "| --- | --- | --- | --- |"]
    for protocol in SCORED_PROTOCOLS.values():
        facts = protocol.facts()
        others = [f"{key}: {value}" for key, value in facts.items() if key not in ("data", "task", "labels", "input")]
        lines.append(f"| `{protocol.name}` | {facts['data']} | {facts.get('labels', '–')} | {'; '.join(others)} |")
    return "\n".join(lines)
