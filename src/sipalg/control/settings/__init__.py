"""All that an administrator may decide: typed, named, read from a file and written back."""
