"""The parts into which ratings may come divided; imported by the command line, so nothing else is in here."""

# Published with MovieLens 100K: five-fold cross-validation, and two splits with ten test ratings a user.
PUBLISHED_SPLITS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")

# Sub-folders of a data folder that the pipeline takes as given splits.
PARTS = ("train", "eval", "test")
