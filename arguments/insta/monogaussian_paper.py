# MonoGaussianAvatar with the published networks and numbers, on the layout
# of INSTA and the metrical tracker (FATE, GaussianBlendshapes); the world is the head. --head_model
# names your FLAME 2020; frames need the jaw, in a folder beside that of the expressions.
_base_ = "../imavatar/monogaussian_paper.py"
dataset = "insta"

DataParams = dict(_delete_=True)
