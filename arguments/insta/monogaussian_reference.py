# MonoGaussianAvatar with every defect of the released code, on the layout
# of INSTA and the metrical tracker (FATE, GaussianBlendshapes); the world is the head. --head_model
# names your FLAME 2020; frames need the jaw, in a folder beside that of the expressions.
_base_ = "../imavatar/monogaussian_reference.py"
dataset = "insta"

DataParams = dict(_delete_=True)

# Its sizes are those of IMavatar's world, FLAME's metres times four. Here they would put its first
# points about the camera, and nothing into the picture.
ModelHiddenParams = dict(reference_units=False)
