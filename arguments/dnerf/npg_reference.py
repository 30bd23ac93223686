# npg_paper.py with the released weights, in pixels of the whole pictures and the world's units, and
# the released start: shapes of noise, all points in one place. Rigidity is for the world of the
# authors' own camera files, which is smaller than D-NeRF's by a factor that nothing says; it grows
# with the fourth power of that factor. jumpingjacks: 5e6.
_base_ = "npg_paper.py"

ModelHiddenParams = dict(published_start=True)

OptimizationParams = dict(
    raw_units=True,
    position_lr_init=1.6e-4,
    position_lr_final=1.6e-6,
    lambda_chamfer=5.0,
    lambda_flow=10.0,
    lambda_front=100.0,
    lambda_rigid=5e7,
)
