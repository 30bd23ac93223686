"""What the numbers that a head follows are called."""

from __future__ import annotations

from scene.facts import SceneFacts

JOINTS = ("head", "neck", "jaw", "left eye", "right eye")
AXES = ("pitch", "yaw", "roll")  # about x, y and z of the head


def control_names(facts: SceneFacts) -> tuple[str, ...]:
    """A name for each number of the model's conditions, in their order."""
    return tuple(
        name_of(facts, condition, k)
        for condition, found in facts.conditions.items()
        for k in range(len(found.mean))
    )


def name_of(facts: SceneFacts, condition: str, k: int) -> str:
    """Of number `k` of a condition: the head model's own name where it has one."""
    if condition == "flame_pose":
        return f"{JOINTS[k // 3]} {AXES[k % 3]}"
    names = facts.names.get(condition, ())
    return names[k] if k < len(names) else f"{condition} {k}"
