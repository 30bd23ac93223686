# Subjects in the layout of IMavatar, PointAvatar and MonoGaussianAvatar, for every method.
dataset = "imavatar"

# Which videos are held out is said with test_videos: published are, of subject 1, MVI_1812, and of
# subject 2, MVI_1802; folders named test are found without.
ModelParams = dict(init_points=10_000)
