"""Settings of the published systems' own config files that change nothing here, and why."""

NO_DELAY = {"position_lr_delay_mult": "the delay has zero steps"}

HIDDEN_4DGS = {
    "flame_dims": "sizes follow from the data; see expression_input, flame_pose_input, code_width",
    "timebase_pe": "sizes of an encoding that no layer reads",
    "posebase_pe": "sizes of an encoding that no layer reads",
    "scale_rotation_pe": "sizes of an encoding that no layer reads",
    "opacity_pe": "sizes of an encoding that no layer reads",
    "timenet_width": "width of a network that is never called",
    "timenet_output": "width of a network that is never called",
    "bounds": "always overwritten by the box of the initial points",
    "no_grid": "crashes the reference",
    "grid_pe": "an experiment of the reference that is not built here",
    "empty_voxel": "an experiment of the reference that is not built here",
    "static_mlp": "an experiment of the reference that is not built here",
}

OPTIMIZATION_4DGS = {
    **NO_DELAY,
    "dataloader": "frames always stream through the bounded cache",
    "custom_sampler": "frames are always drawn by the stage's own sampler",
    "deformation_lr_delay_mult": "the delay has zero steps",
    "weight_constraint_init": "read by no loss",
    "weight_constraint_after": "read by no loss",
    "weight_decay_iteration": "read by no loss",
    "add_point": "its code path crashes in the reference",
}
