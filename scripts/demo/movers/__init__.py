"""Six scenes of balls that are hard to follow, each for one reason, with the truth beside them.

A floor, a few still things and a mover, seen by a rig of twelve cameras of which one sees each
moment. Read in this order: `stage` (what stands still), `scenes` (what moves, and how), `rig`
(which camera sees which moment), `truth` (where the movers are). The robot's ray caster draws them.
"""
