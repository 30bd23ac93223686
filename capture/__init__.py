"""A person's own video, tracked by free parts, and written as a head dataset."""
