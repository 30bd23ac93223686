"""Steps of Riemannian Adam (Becigneul and Ganea 2019)."""

from __future__ import annotations

from fused_fields import sphere_step

STEPS = {"sphere": sphere_step}  # name of a manifold to the step of a parameter on it
