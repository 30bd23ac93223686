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

MESH = "STAG4D never makes the mesh that DreamGaussian made"
STAG4D = {
    **NO_DELAY,
    "deformation_lr_delay_mult": "the delay has zero steps",
    "position_lr_max_steps2": "assigned after the schedule was built",
    "density_start_iter": "it is densify_from_iter here",
    "density_end_iter": "it is densify_until_iter here",
    "input": "the folder is named by -s",
    "prompt": "no text guides anything",
    "outdir": "the output folder is named by -m or --expname",
    "save_path": "the output folder is named by -m or --expname",
    "save_step": "steps are init_steps + iterations",
    "load_path": "the same command again goes on where it stopped",
    "load_step": "render.py --iteration chooses a saved step",
    "valid_interval": "scores and sheets are written at test_iterations",
    "ref_size": "-r sets the width of all pictures",
    "num_pts": "the number of random points is init_points",
    "gui": "--viewer follows the training in a browser",
    "H": "the viewer's page has the size of its window",
    "W": "the viewer's page has the size of its window",
    "lambda_sd": "no text guides anything",
    "mvdream": "no text guides anything",
    "imagedream": "its prior is not among those here",
    **dict.fromkeys(
        (
            "mesh",
            "density_thresh",
            "mesh_format",
            "iters_refine",
            "train_geo",
            "force_cuda_rast",
            "geom_lr",
            "texture_lr",
            "load",
        ),
        MESH,
    ),
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
