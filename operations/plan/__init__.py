"""What an update would do to each gateway, in the field's words.

model.py      what a plan is
settings.py   a gateway's settings: which differ, and what each does
reading.py    the engine's JSON preview made into a plan
rendering.py  a plan for people and for programs
"""

from operations.plan.model import (
    REPLACED,
    Cause,
    Change,
    FailOn,
    GatewayPlan,
    OtherChange,
    Plan,
    PlanVerdict,
)
from operations.plan.reading import THIS_VERSION, by_owner, read, warnings
from operations.plan.rendering import RENDERERS, WORDS, as_json, effects_table, human, markdown
from operations.plan.settings import changed_settings, effect_of, every_setting

__all__ = [
    "RENDERERS",
    "REPLACED",
    "THIS_VERSION",
    "WORDS",
    "Cause",
    "Change",
    "FailOn",
    "GatewayPlan",
    "OtherChange",
    "Plan",
    "PlanVerdict",
    "as_json",
    "by_owner",
    "changed_settings",
    "effect_of",
    "effects_table",
    "every_setting",
    "human",
    "markdown",
    "read",
    "warnings",
]
