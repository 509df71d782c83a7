"""A task's `output_schema` at the door: refused with the place and the reason, or known to be good."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson

from schema_rules import Fault, fault_in

from .problems import invalid

LONGEST_SAID = 200
REMEMBERED = 256
"""Schemas that were found good and need no second look."""

_good: OrderedDict[bytes, None] = OrderedDict()


async def demand_schema(schema: Mapping[str, Any]) -> None:
    """Raises Problem (422) that says where the schema is wrong, and what would be right."""
    known = hashlib.sha256(orjson.dumps(schema)).digest()
    if known not in _good:
        fault = await asyncio.to_thread(fault_in, schema)
        if fault is not None:
            raise _problem(fault)
    _good[known] = None
    _good.move_to_end(known)
    if len(_good) > REMEMBERED:
        _good.popitem(last=False)


def _problem(fault: Fault) -> Exception:
    loc = ["body", "output_schema", *(part[:LONGEST_SAID] for part in fault.place)]
    return invalid([{"loc": loc, "msg": fault.said, "type": "output_schema"}])
