"""The tools that agents may use, one file each."""
