"""The demo scene: a wind-up robot on a wooden stand, ray cast on the CPU with numpy alone.

Read in this order: `shapes` (what a ray can hit), `textures` (what it looks like), `toy` (the scene
at one time), `raycast` (the picture), `views` (which cameras and times make up the dataset).
"""
