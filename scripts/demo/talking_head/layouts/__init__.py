"""One module per dataset family, each with two functions that know that family's files:

    pictures(record, k, picture) -> dict[str, Pixels]    files of moment k, by path in the folder
    documents(record) -> dict[str, object]               arrays by name (.npz), text (.txt) or JSON

A family that has no place for a split leaves its moments out.
"""

from scripts.demo.talking_head.layouts import (
    gaussianavatars,
    imavatar,
    insta,
    nerface,
    nerfblendshape,
)

LAYOUTS = {
    "imavatar": imavatar,
    "nerfblendshape": nerfblendshape,
    "nerface": nerface,
    "gaussianavatars": gaussianavatars,
    "insta": insta,
}
