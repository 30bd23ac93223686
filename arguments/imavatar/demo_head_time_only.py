# demo_head_fourdgs.py, told the time in place of expression and pose. For comparison with it.
_base_ = "demo_head_fourdgs.py"

ModelHiddenParams = dict(expression_input=False, flame_pose_input=False, time_input=True)
