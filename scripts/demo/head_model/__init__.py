"""Parts of make_head_model.py: from MakeHuman's CC0 body to a head in FLAME's layout."""
