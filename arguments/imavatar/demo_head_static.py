# demo_head_fourdgs.py, told neither expression and pose nor the time: one face for all frames.
_base_ = "demo_head_fourdgs.py"

ModelHiddenParams = dict(expression_input=False, flame_pose_input=False, time_input=False)
